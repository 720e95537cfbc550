#include "bench/load/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "storage/base/html_text.h"

namespace weir::bench {
namespace {

constexpr std::string_view kColors[] = {"#2563eb", "#dc2626", "#059669",
                                        "#d97706", "#7c3aed", "#0891b2"};
constexpr double kWidth = 860, kHeight = 300, kLeft = 70, kBottom = 46, kTop = 26, kRight = 30;

// The next number of the form 1, 2 or 5 x 10^n at or above value.
double round_up(double value) {
  if (value <= 0) return 1;
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 2.5, 5.0, 10.0})
    if (value <= step * power) return step * power;
  return 10 * power;
}

std::string label_of(double value) {
  if (value >= 1e6) return fmt::format("{:g} M", value / 1e6);
  if (value >= 1e4) return fmt::format("{:g} k", value / 1e3);
  return fmt::format("{:.4g}", value);
}

class Axis {
 public:
  explicit Axis(const Plot& plot) : logarithmic_(plot.logarithmic) {
    double highest = 0;
    double lowest = INFINITY;
    for (const Curve& curve : plot.curves)
      for (const auto& [x, y] : curve.points) {
        highest = std::max(highest, y);
        if (y > 0) lowest = std::min(lowest, y);
      }
    if (!logarithmic_ || highest <= 0) {
      logarithmic_ = false;
      high_ = round_up(highest);
      for (int i = 0; i <= 4; ++i) marks_.push_back(high_ * i / 4);
      return;
    }
    low_ = std::floor(std::log10(lowest));
    high_ = std::max(std::ceil(std::log10(highest)), low_ + 1);
    for (double power = low_; power <= high_; ++power)
      for (const double step : {1.0, 2.0, 5.0}) {
        const double value = step * std::pow(10, power);
        // Few powers: the steps between them too.
        if (std::log10(value) <= high_ + 1e-9 && (step == 1.0 || high_ - low_ <= 3))
          marks_.push_back(value);
      }
  }
  double at(double y) const {
    const double share = logarithmic_
                             ? (std::log10(std::max(y, std::pow(10, low_))) - low_) / (high_ - low_)
                             : y / high_;
    return kHeight - kBottom - share * (kHeight - kBottom - kTop);
  }
  const std::vector<double>& marks() const { return marks_; }

 private:
  bool logarithmic_;
  double low_ = 0;  // of a logarithmic axis: the exponent
  double high_ = 1;
  std::vector<double> marks_;
};

double at_x(double x) { return kLeft + x * (kWidth - kLeft - kRight); }

void append_legend(std::string& out, const Plot& plot) {
  if (plot.curves.size() < 2) return;
  out += "<p class=\"legend\">";
  for (const Curve& curve : plot.curves)
    out +=
        fmt::format("<span><i class=\"key{}\" style=\"--c:{}\"></i>{}</span> ",
                    curve.dashed ? " dashed" : "", plot_color(curve.color), html_text(curve.name));
  out += "</p>\n";
}

}  // namespace

std::string_view plot_color(size_t number) { return kColors[number % std::size(kColors)]; }

void append_plot(std::string& out, const Plot& plot) {
  const Axis axis(plot);
  auto to = std::back_inserter(out);
  fmt::format_to(to, "<figure><h2>{}</h2>\n", html_text(plot.title));
  append_legend(out, plot);
  fmt::format_to(to, "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}, {}\">", kWidth,
                 kHeight, html_text(plot.title), html_text(plot.unit));
  for (const double mark : axis.marks())
    fmt::format_to(to,
                   "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
                   "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>",
                   kLeft, kWidth - kRight, axis.at(mark), axis.at(mark), kLeft - 8,
                   axis.at(mark) + 4, label_of(mark));
  fmt::format_to(to, "<text x=\"4\" y=\"12\">{}</text>", html_text(plot.unit));
  fmt::format_to(to, "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                 (kLeft + kWidth - kRight) / 2, kHeight - 6, html_text(plot.x_title));
  for (const auto& [x, label] : plot.ticks)
    fmt::format_to(to, "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>", at_x(x),
                   kHeight - kBottom + 17, label);
  for (const Curve& curve : plot.curves) {
    fmt::format_to(to, "<polyline fill=\"none\" stroke-width=\"2\"{} stroke=\"{}\" points=\"",
                   curve.dashed ? " stroke-dasharray=\"6 4\"" : "", plot_color(curve.color));
    for (const auto& [x, y] : curve.points)
      fmt::format_to(to, "{:.1f},{:.1f} ", at_x(x), axis.at(y));
    out += "\"/>";
    // A run of one interval has no line to show.
    if (curve.points.size() == 1)
      fmt::format_to(to, "<circle r=\"4\" cx=\"{:.1f}\" cy=\"{:.1f}\" fill=\"{}\"/>",
                     at_x(curve.points[0].first), axis.at(curve.points[0].second),
                     plot_color(curve.color));
  }
  out += "</svg></figure>\n";
}

}  // namespace weir::bench
