"""Public names and where they live; `__init__` loads each when it is first used."""

from .attacks import (
    BASE as BASE,
)
from .attacks import (
    RMIA as RMIA,
)
from .attacks import (
    AugmentationAttack as AugmentationAttack,
)
from .attacks import (
    BoundaryAttack as BoundaryAttack,
)
from .attacks import (
    CalibratedAttack as CalibratedAttack,
)
from .attacks import (
    ConfidenceAttack as ConfidenceAttack,
)
from .attacks import (
    CorrectnessAttack as CorrectnessAttack,
)
from .attacks import (
    EntropyAttack as EntropyAttack,
)
from .attacks import (
    GradientAttack as GradientAttack,
)
from .attacks import (
    LearnedAttack as LearnedAttack,
)
from .attacks import (
    LiRA as LiRA,
)
from .attacks import (
    LossAttack as LossAttack,
)
from .attacks import (
    MarginAttack as MarginAttack,
)
from .attacks import (
    ModifiedEntropyAttack as ModifiedEntropyAttack,
)
from .attacks import (
    PopulationAttack as PopulationAttack,
)
from .attacks import (
    QuantileAttack as QuantileAttack,
)
from .attacks import (
    RandomAttack as RandomAttack,
)
from .attacks import (
    ReferenceAttack as ReferenceAttack,
)
from .attacks import (
    SimilarityAttack as SimilarityAttack,
)
from .attacks import (
    StackedAttack as StackedAttack,
)
from .data import (
    Masks as Masks,
)
from .data import (
    Pool as Pool,
)
from .data import (
    balanced_masks as balanced_masks,
)
from .data import (
    independent_masks as independent_masks,
)
from .data import (
    load_dataset as load_dataset,
)
from .data import (
    quarter_masks as quarter_masks,
)
from .data import (
    quarters as quarters,
)
from .engine import (
    Oracle as Oracle,
)
from .engine import (
    Store as Store,
)
from .engine import (
    load_model as load_model,
)
from .engine import (
    query as query,
)
from .engine import (
    train as train,
)
from .errors import (
    InputError as InputError,
)
from .evaluation import (
    auc as auc,
)
from .evaluation import (
    evaluate as evaluate,
)
from .evaluation import (
    roc_curve as roc_curve,
)
from .evaluation import (
    tpr_at_fpr as tpr_at_fpr,
)
from .outputs import (
    Outputs as Outputs,
)
from .parameters import (
    check_parameters as check_parameters,
)
from .training import (
    DPConfig as DPConfig,
)
from .training import (
    TrainConfig as TrainConfig,
)
