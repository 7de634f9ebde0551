// Shows what is under the pointer, the finger or the keyboard's focus. Without this script, the browser's own tips do.
"use strict";
const tip = document.getElementById("tip");
document.querySelectorAll("[data-tip] title").forEach((title) => title.remove());

function show(mark, x, y) {
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(x + 12, 4), window.innerWidth - box.width - 4);
    const above = y - box.height - 12;
    tip.style.left = `${Math.max(left, 4)}px`;
    tip.style.top = `${above > 4 ? above : y + 16}px`;
}

document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest("[data-tip]");
    if (mark) {
        show(mark, event.clientX, event.clientY);
    } else {
        tip.hidden = true;
    }
});
document.addEventListener("focusin", (event) => {
    if (event.target.matches("[data-tip]")) {
        const box = event.target.getBoundingClientRect();
        show(event.target, box.left, box.top);
    }
});
document.addEventListener("focusout", () => { tip.hidden = true; });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
