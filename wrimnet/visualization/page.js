// Draws each chart of the page as SVG in the page's colors, at the width of its place.
// Pointer and arrow keys choose a place on the horizontal axis; the legend shows its values.
"use strict";

const HEIGHT = 230;
const DASHES = ["none", "7 3", "2 3", "9 3 2 3"];  // by series, beside its color

const color = (number) => `var(--series-${number % 8})`;
const format = (value) => Number(value.toPrecision(4)).toLocaleString("en-US", {maximumSignificantDigits: 4});

function pointsOf(series) {
  return series.x.map((x, index) => ({x, y: series.y[index]}));
}

function marks(chart) {
  const curve = chart.steps ? "step" : "linear";
  const base = chart.log ? [] : [Plot.ruleY([0], {stroke: "var(--rule)"})];
  return base.concat(...chart.series.map((series, number) => {
    const stroke = color(number);
    const line = {x: "x", y: "y", stroke, curve, strokeWidth: 2};
    const drawn = [Plot.lineY(pointsOf(series), {...line, strokeDasharray: DASHES[number % 4]})];
    if (chart.steps) drawn.unshift(Plot.areaY(pointsOf(series), {...line, stroke: "none", fill: stroke, fillOpacity: 0.25}));
    else if (series.x.length <= 30) drawn.push(Plot.dot(pointsOf(series), {x: "x", y: "y", fill: stroke}));
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
  const domain = [chart.start ?? places[0], chart.end ?? places[places.length - 1]];
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

// Adds a shape in front of a chart.
function addShape(svg, kind, attributes) {
  const shape = document.createElementNS("http://www.w3.org/2000/svg", kind);
  Object.entries(attributes).forEach(([name, value]) => shape.setAttribute(name, value));
  svg.append(shape);
  return shape;
}

// Lets pointer and arrow keys choose one of ``count`` stops, ``first`` before that; ``nearest``
// finds the stop at a position.
function followInput(place, count, first, nearest, show) {
  let chosen = first;
  const choose = (index) => {
    chosen = Math.max(0, Math.min(count - 1, index));
    place.setAttribute("aria-valuenow", chosen);
    place.setAttribute("aria-valuetext", show(chosen));
  };
  place.setAttribute("aria-valuemax", count - 1);
  place.addEventListener("pointermove", (event) => {
    const box = place.getBoundingClientRect();
    choose(nearest(event.clientX - box.left, event.clientY - box.top));
  });
  place.addEventListener("keydown", (event) => {
    const steps = {ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: count - 1};
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose(steps[event.key]);
  });
  return () => choose(chosen);
}

// Draws now and whenever the place has another width; ``show`` marks what is chosen.
function keepDrawn(place, build, show) {
  let width = 0;
  const redraw = () => {
    if (place.clientWidth === width) return;
    width = place.clientWidth;
    const svg = build(width);
    svg.setAttribute("aria-hidden", "true"); // the place around it says its values
    place.replaceChildren(svg);
    show();
  };
  redraw();
  new ResizeObserver(redraw).observe(place);
}

function startChart(figure) {
  const chart = JSON.parse(figure.querySelector("script").textContent);
  const place = figure.querySelector(".plot");
  const outputs = [...figure.querySelectorAll(".legend output")];
  const heading = figure.querySelector(".place");
  const places = [...new Set(chart.series.flatMap((series) => series.x))].sort((a, b) => a - b);
  let svg, crosshair;
  figure.querySelectorAll(".swatch path").forEach((path, number) => {
    path.style.stroke = color(number);
    path.style.strokeDasharray = DASHES[number % 4];
  });

  function show(chosen) {
    const said = chart.series.map((series, number) => {
      const at = series.x.indexOf(places[chosen]);
      const note = at >= 0 && series.notes[at] ? ` (${series.notes[at]})` : "";
      outputs[number].textContent = at < 0 ? "–" : format(series.y[at]) + note;
      return `${series.name} ${outputs[number].textContent}`;
    });
    heading.textContent = `${chart.x_label} ${format(places[chosen])}`;
    const across = svg.scale("x").apply(places[chosen]);
    crosshair.setAttribute("x1", across);
    crosshair.setAttribute("x2", across);
    return `${heading.textContent}: ${said.join(", ")}`;
  }

  const nearest = (x) => d3.leastIndex(places, (place) => Math.abs(svg.scale("x").apply(place) - x));
  const first = chart.steps ? places.length >> 1 : places.length - 1;
  const refresh = followInput(place, places.length, first, nearest, show);
  keepDrawn(place, (width) => {
    svg = draw(chart, places, width);
    crosshair = addShape(svg, "line", {class: "crosshair", y1: 28, y2: HEIGHT - 38});
    return svg;
  }, refresh);
}

function startPoints(figure) {
  const map = JSON.parse(figure.querySelector("script").textContent);
  const place = figure.querySelector(".plot");
  const heading = figure.querySelector(".place");
  const points = map.names.map((name, i) => ({name, x: map.x[i], y: map.y[i], fill: map.colors[i], symbol: map.symbols[i]}));
  let svg, ring;

  function show(chosen) {
    ring.setAttribute("cx", svg.scale("x").apply(points[chosen].x));
    ring.setAttribute("cy", svg.scale("y").apply(points[chosen].y));
    heading.textContent = points[chosen].name;
    return points[chosen].name;
  }

  const distance = (point, x, y) => Math.hypot(svg.scale("x").apply(point.x) - x, svg.scale("y").apply(point.y) - y);
  const nearest = (x, y) => d3.leastIndex(points, (point) => distance(point, x, y));
  const refresh = followInput(place, points.length, 0, nearest, show);
  keepDrawn(place, (width) => {
    svg = Plot.plot({
      width,
      height: 360,
      margin: 10,
      style: {background: "none"},
      x: {axis: null},
      y: {axis: null},
      symbol: {type: "identity"},
      marks: [Plot.dot(points, {x: "x", y: "y", fill: "fill", symbol: "symbol", r: 4.5, stroke: "var(--page)", strokeWidth: 0.7})],
    });
    ring = addShape(svg, "circle", {class: "crosshair", r: 9, fill: "none"});
    return svg;
  }, refresh);
}

// Sorts the rows of a table by the column whose heading is pressed; pressed again, the other way.
function startSorting(table) {
  const body = table.querySelector("tbody");
  const headings = [...table.querySelectorAll("th button")];
  for (const heading of headings) heading.addEventListener("click", () => {
    const cell = heading.parentElement;
    const direction = cell.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    headings.forEach((other) => other.parentElement.removeAttribute("aria-sort"));
    cell.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const value = (row) => sign * Number(row.dataset[heading.dataset.column]);
    body.append(...[...body.rows].sort((a, b) => value(a) - value(b)));
  });
}

// Puts the small pictures, each of which is in the page once, into their places.
function fillThumbnails() {
  const pictures = JSON.parse(document.getElementById("thumbnails")?.textContent ?? "{}");
  document.querySelectorAll("img[data-path]").forEach((image) => { image.src = pictures[image.dataset.path]; });
}

fillThumbnails();
document.querySelectorAll("table.sortable").forEach(startSorting);
document.querySelectorAll("figure.chart").forEach(startChart);
document.querySelectorAll("figure.points").forEach(startPoints);
