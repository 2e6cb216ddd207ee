
(function () {
  "use strict";
  var tip = document.getElementById("tip");
  var root = document.documentElement;
  var shown = null;

  function hide() {
    if (shown) { shown.classList.remove("on"); shown = null; }
    tip.hidden = true;
  }

  function show(mark) {
    if (mark === shown) { return; }
    hide();
    shown = mark;
    mark.classList.add("on");
    tip.textContent = mark.getAttribute("data-tip");
    tip.hidden = false;
    var box = mark.getBoundingClientRect();
    var x = box.left + box.width / 2 - tip.offsetWidth / 2;
    var y = box.top - tip.offsetHeight - 8;
    if (mark.classList.contains("band")) {
      x = box.right + 14;
      if (x + tip.offsetWidth > window.innerWidth - 8) { x = box.left - 14 - tip.offsetWidth; }
      y = Math.max(8, box.top + 12);
    } else if (y < 8) {
      y = box.bottom + 8;
    }
    x = Math.max(8, Math.min(x, window.innerWidth - tip.offsetWidth - 8));
    tip.style.left = x + "px";
    tip.style.top = y + "px";
  }

  document.addEventListener("pointerover", function (event) {
    var mark = event.target.closest ? event.target.closest("[data-tip]") : null;
    if (mark) { show(mark); } else { hide(); }
  });
  document.addEventListener("scroll", hide, true);

  document.querySelectorAll("svg.chart").forEach(function (chart) {
    var marks = Array.prototype.slice.call(chart.querySelectorAll("[data-tip]"));
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", function (event) {
      var at = marks.indexOf(shown);
      var next = {
        ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1,
        Home: 0, End: marks.length - 1
      }[event.key];
      if (event.key === "Escape") { hide(); }
      if (next === undefined || !marks.length) { return; }
      event.preventDefault();
      show(marks[Math.max(0, Math.min(next, marks.length - 1))]);
    });
  });

  var theme = document.getElementById("theme");
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function isDark() {
    var chosen = root.getAttribute("data-theme");
    return chosen ? chosen === "dark" : dark.matches;
  }
  function name() { theme.textContent = isDark() ? "Light" : "Dark"; }
  theme.addEventListener("click", function () {
    root.setAttribute("data-theme", isDark() ? "light" : "dark");
    name();
  });
  dark.addEventListener("change", name);
  name();
  theme.hidden = false;

  var save = document.getElementById("save");
  if (save) {
    save.addEventListener("click", function () {
      var text = document.getElementById("statement").textContent;
      var link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      link.download = "statement.json";
      link.click();
      setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
    });
    save.hidden = false;
  }

  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.prototype.slice.call(document.querySelectorAll("details:not([open])"));
    opened.forEach(function (part) { part.open = true; });
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (part) { part.open = false; });
  });
}());
