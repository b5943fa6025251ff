// Twelve photographs: say which the model was trained on, then see its answers, LiRA and the truth.
"use strict";

(function (mia) {
  const COUNT = 12;

  // How many of the guesses (or verdicts) are right.
  mia.score = (guesses, photographs) =>
    photographs.filter((photo, i) => guesses[i] === photo.member).length;

  // The first photographs that make half members, in the order in which they were drawn.
  mia.half = function (photographs, count) {
    const taken = [], left = { true: count / 2, false: count / 2 };
    for (const photo of photographs) if (left[photo.member]-- > 0) taken.push(photo);
    return taken;
  };

  mia.explorer("guess", (body, data) => {
    const photos = mia.half(data.photographs, COUNT);
    const guesses = photos.map(() => false);
    const told = photos.map(() => mia.element("span", { class: "explorer-told" }));
    const tiles = photos.map((photo, i) => mia.element("button", {
      type: "button", "aria-pressed": "false",
      onclick: () => {
        guesses[i] = !guesses[i];
        tiles[i].setAttribute("aria-pressed", String(guesses[i]));
      },
    }, [
      mia.element("img", { src: photo.photograph, width: 72, height: 72,
        alt: `photograph ${i + 1}: ${photo.class}` }), told[i]]));
    const say = mia.element("p", { class: "explorer-say", "aria-live": "polite", tabindex: "-1", text:
      `Six of these twelve photographs were in the training set. Mark them, if you can tell.` });
    const answers = () => {
      photos.forEach((photo, i) => {
        const [name, p] = photo.answers[0];
        told[i].textContent = `${name} ${mia.percent(p, p > 0.9995 ? 2 : 1)}`;
      });
      say.textContent = "What the model answers to each. Change your marks if this tells you something.";
      next.textContent = "Show LiRA's verdict, and the truth";
      next.onclick = truth;
    };
    const truth = () => {
      photos.forEach((photo, i) => {
        const right = photo.accused === photo.member;
        tiles[i].disabled = true;
        tiles[i].classList.add(photo.member ? "is-member" : "is-nonmember");
        told[i].textContent = `${photo.member ? "member" : "not a member"}; LiRA ${right ? "right" : "wrong"}`;
      });
      const mine = mia.score(guesses, photos), its = mia.score(photos.map((p) => p.accused), photos);
      say.textContent = `You were right about ${mine} of 12, LiRA about ${its}. A coin gets 6 on average.`;
      say.focus(); // the button goes: a keyboard stays here
      next.hidden = true;
    };
    const next = mia.element("button", { type: "button", class: "explorer-next",
      text: "Show the model's answers" });
    next.onclick = answers;
    body.append(say, mia.element("div", { class: "explorer-tiles", role: "group",
      "aria-label": "Twelve photographs; pressed means: was in the training set" }, tiles), next);
  });
})((globalThis.mia = globalThis.mia || {}));
