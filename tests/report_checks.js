// Runs in the page around a report, which stands in a frame; what it finds becomes the text of a .result.
"use strict";
// A text and what can be seen of it: inside an <svg> of its own it is cut off where that ends.
function visible(text) {
    const box = text.getBoundingClientRect(), inner = text.parentElement, outer = inner.parentElement.closest("svg");
    const cut = outer ? outer.getBoundingClientRect().left + (inner.x.baseVal.value + inner.width.baseVal.value) : Infinity;
    const right = Math.min(box.right, cut);
    return {text: text.textContent, left: box.left, right, top: box.top + 3, bottom: box.bottom - 3};
}

function overlapping(figure) {
    const boxes = [...figure.querySelectorAll("text")].map(visible).filter((box) => box.right - box.left > 1);
    const pairs = [];
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1 && down > 0) {
            pairs.push([a.text, b.text]);
        }
    }));
    return pairs;
}

document.querySelectorAll("iframe").forEach((frame) => frame.addEventListener("load", () => {
    const page = frame.contentDocument, view = frame.contentWindow, width = page.documentElement.clientWidth;
    const all = (selector) => [...page.querySelectorAll(selector)];
    const tip = page.getElementById("tip");
    const point = (mark, x, y) => mark.dispatchEvent(
        new view.PointerEvent("pointermove", {clientX: x, clientY: y, bubbles: true}));
    const silent = all("[data-tip]").filter((mark) => {
        const box = mark.getBoundingClientRect();
        point(mark, box.left + box.width / 2, box.top + box.height / 2);
        const shown = tip.getBoundingClientRect();
        return tip.hidden || tip.textContent !== mark.dataset.tip || shown.left < 0 || shown.right > width + 0.5;
    });
    point(page.body, 1, 1);
    const words = all("section, dl div, h1, h2, p, pre, figure text").filter((mark) => !mark.closest(".scroll"));
    const beyond = (mark) => (mark.matches("text") ? visible(mark) : mark.getBoundingClientRect()).right > width + 0.5;
    const result = document.createElement("pre");
    result.className = "result";
    result.textContent = JSON.stringify({
        width: frame.clientWidth,
        scroll: page.documentElement.scrollWidth - width,
        wide: words.filter(beyond).map((mark) => mark.textContent.slice(0, 60)),
        overlaps: all("figure").flatMap(overlapping),
        tips: silent.map((mark) => mark.dataset.tip),
        marks: all("[data-tip]").length,
        hides: tip.hidden,
        figures: all("figure > svg").length,
    });
    document.body.append(result);
}));
