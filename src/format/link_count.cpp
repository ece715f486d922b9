// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/link_count.h"

#include <charconv>
#include <limits>

namespace plyfs::format {
namespace {

constexpr std::size_t kLongest = 12;  // bytes that overlayfs reads

}  // namespace

std::optional<LinkCount> parse_link_count(std::string_view value) noexcept {
    if (value.size() < 3 || value.size() > kLongest) return std::nullopt;
    LinkCount count;
    if (value[0] == 'L') {
        count.base = LinkCount::Base::Lower;
    } else if (value[0] != 'U') {
        return std::nullopt;
    }
    if (value[1] != '+' && value[1] != '-') return std::nullopt;
    // from_chars takes a minus sign only; a sign after a plus is none of ours.
    const char* const end = value.data() + value.size();
    const char* const first = value.data() + (value[1] == '+' ? 2 : 1);
    if (value[2] == '-') return std::nullopt;
    const auto [rest, error] = std::from_chars(first, end, count.difference);
    if (error != std::errc{} || rest != end) return std::nullopt;
    return count;
}

std::string encode(const LinkCount& count) {
    std::string value(1, count.base == LinkCount::Base::Upper ? 'U' : 'L');
    if (count.difference >= 0) value += '+';
    return value += std::to_string(count.difference);
}

std::optional<std::uint32_t> shown_links(const LinkCount& count, std::uint32_t upper,
                                         std::uint32_t lower) noexcept {
    const std::int64_t base = count.base == LinkCount::Base::Upper ? upper : lower;
    const std::int64_t shown = base + count.difference;
    if (shown < 1 || shown > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
    return static_cast<std::uint32_t>(shown);
}

LinkCount link_count(LinkCount::Base base, std::uint32_t shown, std::uint32_t base_links) noexcept {
    return {.base = base, .difference = static_cast<int>(shown - base_links)};
}

Result<std::optional<LinkCount>> read_link_count(int copy, const MarkRules& rules) {
    const auto value = TRY(read_mark(copy, Mark::Links, rules));
    if (!value) return std::nullopt;
    return parse_link_count(*value);
}

Result<void> write_link_count(int copy, const MarkFormat& format, const LinkCount& count) {
    return write_mark(copy, Mark::Links, format, encode(count));
}

}  // namespace plyfs::format
