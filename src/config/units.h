// SPDX-License-Identifier: GPL-2.0-or-later
//
// Numbers as people write them: sizes, durations, counts and truth values, and back to text.
// Pure functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/config_error.h"

namespace plyfs::config {

// Bytes. Units are powers of 1024 in either case: B, K, M, G, T, P, also as KiB and so on; a
// fraction needs a unit (`1.5T`). A number without unit counts `plain_unit` bytes.
Parsed<std::uint64_t> parse_size(std::string_view text, std::uint64_t plain_unit = 1);

// Units ns, us, ms, s, m, h, d; a number without unit counts seconds. Never negative.
Parsed<std::chrono::nanoseconds> parse_duration(std::string_view text);

// true/yes/on/1 and false/no/off/0, in either case.
Parsed<bool> parse_boolean(std::string_view text);

// A decimal number in [minimum, maximum].
Parsed<std::uint64_t> parse_count(std::string_view text, std::uint64_t minimum,
                                  std::uint64_t maximum);

// In the largest unit that divides the value, always with its unit: parsing gives the value back.
std::string format_size(std::uint64_t bytes);
std::string format_duration(std::chrono::nanoseconds duration);

// ASCII only: configuration keywords are, whatever the locale.
std::string lower_case(std::string_view text);

}  // namespace plyfs::config
