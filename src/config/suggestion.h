// SPDX-License-Identifier: GPL-2.0-or-later
//
// «Did you mean»: the known word nearest to an unknown one. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace plyfs::config {

// The candidate with the fewest edits (insertion, deletion, substitution, swap of neighbours), if
// few enough to be a slip: at most one edit for each three characters, and one for short words.
// Failing that, one that begins with the same four characters.
std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates);

// "did you mean `x`?", or "" where nothing is near.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace plyfs::config
