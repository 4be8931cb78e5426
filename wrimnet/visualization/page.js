// Draws each chart of the page as SVG in the page's colours, at the width of its place.
// Pointer and arrow keys choose a place on the horizontal axis; the legend shows its values.
"use strict";

const HEIGHT = 230;
const DASHES = ["none", "7 3", "2 3", "9 3 2 3"];  // by series, beside its colour

const colour = (number) => `var(--series-${number % 8})`;
const format = (value) => Number(value.toPrecision(4)).toLocaleString("en-US", {maximumSignificantDigits: 4});

function pointsOf(series) {
  return series.x.map((x, index) => ({x, y: series.y[index]}));
}

function marks(chart) {
  const curve = chart.steps ? "step" : "linear";
  const base = chart.log ? [] : [Plot.ruleY([0], {stroke: "var(--rule)"})];
  return base.concat(...chart.series.map((series, number) => {
    const stroke = colour(number);
    const line = {x: "x", y: "y", stroke, curve, strokeWidth: 2};
    const drawn = [Plot.lineY(pointsOf(series), {...line, strokeDasharray: DASHES[number % 4]})];
    if (series.x.length <= 30) drawn.push(Plot.dot(pointsOf(series), {x: "x", y: "y", fill: stroke}));
    if (series.chance !== null) {
      drawn.push(Plot.ruleY([series.chance], {stroke, strokeDasharray: "1 4", strokeLinecap: "round"}));
    }
    return drawn;
  }));
}

function horizontalTicks([first, last], places, width) {
  const ticks = first < last ? d3.ticks(first, last, width / 80) : [first];
  return places.every(Number.isInteger) ? ticks.filter(Number.isInteger) : ticks;
}

function draw(chart, places, width) {
  const domain = [chart.start ?? places[0], places[places.length - 1]];
  const vertical = chart.log ? {type: "log", tickFormat: "~g", ticks: 4} : {ticks: 5};
  if (!chart.log && chart.top) vertical.domain = [0, chart.top * 1.05];
  return Plot.plot({
    width,
    height: HEIGHT,
    marginLeft: 56,
    marginTop: 28,
    marginBottom: 38,
    style: {fontSize: "12px", background: "none", color: "var(--soft)"},
    x: {label: chart.x_label, domain, ticks: horizontalTicks(domain, places, width), tickFormat: "~r"},
    y: {label: chart.y_label, grid: true, ...vertical},
    marks: marks(chart),
  });
}

// The vertical line at the chosen place.
function addCrosshair(svg) {
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  line.setAttribute("class", "crosshair");
  line.setAttribute("y1", 28);
  line.setAttribute("y2", HEIGHT - 38);
  svg.append(line);
  return line;
}

function start(figure) {
  const chart = JSON.parse(figure.querySelector("script").textContent);
  const place = figure.querySelector(".plot");
  const outputs = [...figure.querySelectorAll(".legend output")];
  const heading = figure.querySelector(".place");
  const places = [...new Set(chart.series.flatMap((series) => series.x))].sort((a, b) => a - b);
  figure.querySelectorAll(".swatch path").forEach((path, number) => {
    path.style.stroke = colour(number);
    path.style.strokeDasharray = DASHES[number % 4];
  });
  let chosen = places.length - 1;
  let svg, crosshair;

  function show(index) {
    chosen = Math.max(0, Math.min(places.length - 1, index));
    const said = chart.series.map((series, number) => {
      const at = series.x.indexOf(places[chosen]);
      const note = series.notes.length && at >= 0 && series.notes[at] ? ` (${series.notes[at]})` : "";
      outputs[number].textContent = at < 0 ? "–" : format(series.y[at]) + note;
      return `${series.name} ${outputs[number].textContent}`;
    });
    heading.textContent = `${chart.x_label} ${format(places[chosen])}`;
    place.setAttribute("aria-valuenow", chosen);
    place.setAttribute("aria-valuetext", `${heading.textContent}: ${said.join(", ")}`);
    const across = svg.scale("x").apply(places[chosen]);
    crosshair.setAttribute("x1", across);
    crosshair.setAttribute("x2", across);
  }

  function redraw() {
    svg = draw(chart, places, place.clientWidth);
    svg.setAttribute("aria-hidden", "true"); // the place around it says its values
    crosshair = addCrosshair(svg);
    place.replaceChildren(svg);
    show(chosen);
  }

  place.setAttribute("aria-valuemax", places.length - 1);
  place.addEventListener("pointermove", (event) => {
    const x = svg.scale("x").invert(event.clientX - svg.getBoundingClientRect().left);
    show(d3.leastIndex(places, (value) => Math.abs(value - x)));
  });
  place.addEventListener("keydown", (event) => {
    const steps = {ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: places.length - 1};
    if (!(event.key in steps)) return;
    event.preventDefault();
    show(steps[event.key]);
  });
  new ResizeObserver(() => svg && svg.getAttribute("width") === String(place.clientWidth) || redraw()).observe(place);
}

document.querySelectorAll("figure.chart").forEach(start);
