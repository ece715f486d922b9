// SPDX-License-Identifier: GPL-2.0-or-later
//
// The statistics of a mount as text for people. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace plyfs::cli {

// `report` is what session/statistics_report.h makes, of this version or a later one. Lines that
// end with a newline. Nothing: it is no report.
std::optional<std::string> statistics_text(std::string_view report);

// Three digits and the unit: 850 ns, 12.3 us, 4.56 ms, 1.20 s.
std::string duration_text(double nanoseconds);

// The same of 1024s: 512 B, 1.50 KiB.
std::string size_text(std::uint64_t bytes);

}  // namespace plyfs::cli
