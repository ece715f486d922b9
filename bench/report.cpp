// SPDX-License-Identifier: GPL-2.0-or-later
#include "report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace plyfs::bench {

double median(Times times) {
    std::ranges::sort(times);
    const std::size_t half = times.size() / 2;
    return times.size() % 2 == 1 ? times[half] : (times[half - 1] + times[half]) / 2;
}

std::string heading(const std::vector<std::string>& targets) {
    std::string text = fmt::format("{:<26}{:>6} {:>12}", "", "", targets.front());
    for (std::size_t i = 1; i < targets.size(); ++i) text += fmt::format("{:>22}", targets[i]);
    return text;
}

std::string line(const Workload& workload, const std::vector<Times>& of_targets) {
    const double first = median(of_targets.front());
    std::string text = fmt::format("{:<26}{:>6} ", workload.name, workload.unit);
    for (std::size_t i = 0; i < of_targets.size(); ++i) {
        const double seconds = median(of_targets[i]);
        const auto operations = static_cast<double>(Sizes{}.*workload.operations);
        const bool rate = std::string_view(workload.unit) != "us";
        const double figure = rate ? operations / seconds : seconds * 1e6 / operations;
        text += fmt::format("{:>12.1f}", figure);
        if (i > 0) text += fmt::format(" ({:>5.2f}x)", seconds / first);
        if (i + 1 < of_targets.size()) text += "  ";
    }
    return text;
}

}  // namespace plyfs::bench
