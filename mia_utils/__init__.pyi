"""Public names and where they live; `__init__` loads each when it is first used."""

from .data import (
    Masks as Masks,
    Pool as Pool,
    balanced_masks as balanced_masks,
    independent_masks as independent_masks,
    load_dataset as load_dataset,
    quarter_masks as quarter_masks,
    quarters as quarters,
)
from .training import (
    DPConfig as DPConfig,
    TrainConfig as TrainConfig,
)
from .experiments.parameters import (
    check_parameters as check_parameters,
)
from .engine import (
    Oracle as Oracle,
    Store as Store,
    load_model as load_model,
    query as query,
    train as train,
)
from .outputs import (
    Outputs as Outputs,
)
from .errors import (
    InputError as InputError,
)
from .evaluation import (
    auc as auc,
    evaluate as evaluate,
    roc_curve as roc_curve,
    tpr_at_fpr as tpr_at_fpr,
)
from .attacks import (
    AugmentationAttack as AugmentationAttack,
    BASE as BASE,
    BoundaryAttack as BoundaryAttack,
    CalibratedAttack as CalibratedAttack,
    ConfidenceAttack as ConfidenceAttack,
    CorrectnessAttack as CorrectnessAttack,
    EntropyAttack as EntropyAttack,
    GradientAttack as GradientAttack,
    LearnedAttack as LearnedAttack,
    LiRA as LiRA,
    LossAttack as LossAttack,
    MarginAttack as MarginAttack,
    ModifiedEntropyAttack as ModifiedEntropyAttack,
    PopulationAttack as PopulationAttack,
    QuantileAttack as QuantileAttack,
    RMIA as RMIA,
    RandomAttack as RandomAttack,
    ReferenceAttack as ReferenceAttack,
    SimilarityAttack as SimilarityAttack,
    StackedAttack as StackedAttack,
)
