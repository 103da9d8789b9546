"use strict";
// the slider: one input drives the maps of the variable that is chosen
(function () {
  const root = document.getElementById("films");
  if (!root) return;
  const slider = root.querySelector("input[type=range]");
  const output = root.querySelector("output");
  const ticks = root.querySelector("datalist");
  const play = root.querySelector("button.play");
  const films = new Map();
  for (const script of root.querySelectorAll("script[data-film]")) {
    films.set(script.dataset.film, JSON.parse(script.textContent));
  }
  let film = films.values().next().value;
  let timer = null;

  function show(frame) {
    slider.value = String(frame);
    const label = film.labels[frame];
    output.textContent = label;
    slider.setAttribute("aria-valuetext", label);
    const strips = root.querySelectorAll(`.film[data-film="${CSS.escape(film.variable)}"] figure`);
    film.strips.forEach(function (strip, index) {
      const image = strips[index].querySelector("img");
      image.src = "data:image/png;base64," + film.images[strip.frames[frame]];
      const note = strip.notes[frame];
      image.alt = `${strip.title} of ${film.name} at ${label}.` + (note ? ` ${note}.` : "");
      strips[index].querySelector("figcaption span").textContent = note;
    });
  }

  function choose(variable) {
    const frame = Number(slider.value);
    film = films.get(variable);
    for (const part of root.querySelectorAll(".film")) part.hidden = part.dataset.film !== variable;
    slider.max = String(film.labels.length - 1);
    ticks.replaceChildren(...film.coarse.map(function (at) {
      const option = document.createElement("option");
      option.value = String(at);
      return option;
    }));
    show(Math.min(frame, film.labels.length - 1));
  }

  function stop() {
    if (timer !== null) window.clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  }

  slider.addEventListener("input", function () { stop(); show(Number(slider.value)); });
  for (const radio of root.querySelectorAll("input[type=radio]")) {
    radio.addEventListener("change", function () { choose(radio.value); });
  }
  play.addEventListener("click", function () {
    if (timer !== null) { stop(); return; }
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    timer = window.setInterval(function () { show((Number(slider.value) + 1) % film.labels.length); }, 600);
  });
  choose(film.variable);
  root.classList.add("ready");
})();
