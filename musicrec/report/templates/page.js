"use strict";
// Draw every chart from its JSON. On touch screens dragging scrolls the page instead of zooming a chart.
// On a narrow page legends get more room.
for (const place of document.querySelectorAll("[data-chart]")) {
  const figure = JSON.parse(document.getElementById("data-" + place.dataset.chart).textContent);
  const touch = matchMedia("(pointer: coarse)").matches;
  const narrow = place.clientWidth < 560;
  figure.layout.dragmode = touch ? false : "zoom";
  if (narrow) {
    figure.layout.font.size = 11;
    if (figure.layout.showlegend) figure.layout.height += 20 * Math.ceil(figure.data.length / 2);
  }
  const config = { responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover" };
  config.modeBarButtonsToRemove = ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"];
  Plotly.newPlot(place, figure.data, figure.layout, config);
}
document.documentElement.dataset.drawn = "yes";
