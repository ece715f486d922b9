// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/suggestion.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace plyfs::config {

namespace {

// No known word is longer; an attempt to type one is not either.
constexpr std::size_t kLongestWord = 64;
constexpr std::size_t kTellingPrefix = 4;

std::size_t edits_between(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before(b.size() + 1);
    std::vector<std::size_t> above(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t substitution = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + substitution});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before[j - 2] + 1);
        }
        std::swap(before, above);
        std::swap(above, row);
    }
    return above[b.size()];
}

}  // namespace

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates) {
    if (word.empty() || word.size() > kLongestWord) return std::nullopt;
    std::size_t fewest = std::max<std::size_t>(1, word.size() / 3) + 1;
    std::optional<std::string_view> best;
    for (const std::string_view candidate : candidates) {
        const std::size_t edits = edits_between(word, candidate);
        if (edits < fewest) {
            fewest = edits;
            best = candidate;
        }
    }
    if (best || word.size() < kTellingPrefix) return best;
    for (const std::string_view candidate : candidates)
        if (candidate.starts_with(word.substr(0, kTellingPrefix))) return candidate;
    return std::nullopt;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
    const auto known = nearest(word, candidates);
    return known ? fmt::format("did you mean `{}`?", *known) : "";
}

}  // namespace plyfs::config
