// Line plots as inline SVG: no script, nothing to load, colours from the page's style sheet.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::bench {

// Colours of the first, second, … result or curve; they repeat.
std::string_view plot_color(size_t number);

struct Curve {
  std::string name;  // shown in the legend
  size_t color = 0;
  bool dashed = false;
  std::vector<std::pair<double, double>> points;  // x in 0..1, y in the axis's unit
};

struct Plot {
  std::string title;
  std::string unit;
  std::string x_title;
  bool logarithmic = false;  // y axis by powers of ten; values at or below 0 are left out
  std::vector<std::pair<double, std::string>> ticks;  // x in 0..1 and its label
  std::vector<Curve> curves;
};

// Appends a <figure>: title, legend when there is more than one curve, the plot.
void append_plot(std::string& out, const Plot& plot);

}  // namespace weir::bench
