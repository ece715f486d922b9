// SPDX-License-Identifier: GPL-2.0-or-later
//
// Builders of table rows for settings.cpp: how a setting of each kind is read and shown. `Access`
// is a captureless function from the options to the member.
#pragma once

#include <limits>

#include <fmt/format.h>

#include "config/names.h"
#include "config/settings.h"
#include "config/suggestion.h"
#include "config/units.h"

namespace plyfs::config {

template <typename Access>
constexpr Setting boolean(std::string_view yaml, std::string_view option, Access) {
    return {yaml, option, SettingKind::Boolean,
            [](Draft& draft, std::string_view value, const Location&) -> Parsed<void> {
                const auto parsed = parse_boolean(value);
                if (!parsed) return std::unexpected(parsed.error());
                Access{}(draft.options) = *parsed;
                return {};
            },
            [](const Options& options) -> std::optional<std::string> {
                return Access{}(options) ? "true" : "false";
            }};
}

template <typename Access>
constexpr Setting duration(std::string_view yaml, std::string_view option, Access) {
    return {yaml, option, SettingKind::Duration,
            [](Draft& draft, std::string_view value, const Location&) -> Parsed<void> {
                const auto parsed = parse_duration(value);
                if (!parsed) return std::unexpected(parsed.error());
                Access{}(draft.options) = *parsed;
                return {};
            },
            [](const Options& options) -> std::optional<std::string> {
                return format_duration(Access{}(options));
            }};
}

template <std::uint64_t plain_unit = 1,
          std::uint64_t maximum = std::numeric_limits<std::uint64_t>::max(), typename Access>
constexpr Setting size(std::string_view yaml, std::string_view option, Access) {
    return {yaml, option, SettingKind::Size,
            [](Draft& draft, std::string_view value, const Location&) -> Parsed<void> {
                const auto parsed = parse_size(value, plain_unit);
                if (!parsed) return std::unexpected(parsed.error());
                if (*parsed > maximum)
                    return std::unexpected(Complaint{fmt::format("`{}` is too large", value),
                                                     "at most " + format_size(maximum)});
                Access{}(draft.options) = *parsed;
                return {};
            },
            [](const Options& options) -> std::optional<std::string> {
                return format_size(Access{}(options));
            }};
}

template <std::uint32_t maximum, typename Access>
constexpr Setting count(std::string_view yaml, std::string_view option, Access) {
    return {yaml, option, SettingKind::Count,
            [](Draft& draft, std::string_view value, const Location&) -> Parsed<void> {
                const auto parsed = parse_count(value, 0, maximum);
                if (!parsed) return std::unexpected(parsed.error());
                Access{}(draft.options) = static_cast<std::uint32_t>(*parsed);
                return {};
            },
            [](const Options& options) -> std::optional<std::string> {
                return std::to_string(Access{}(options));
            }};
}

template <typename Access>
constexpr Setting text(std::string_view yaml, std::string_view option, Access) {
    return {yaml, option, SettingKind::Text,
            [](Draft& draft, std::string_view value, const Location&) -> Parsed<void> {
                if (value.find('\0') != std::string_view::npos)
                    return std::unexpected(Complaint{"must not hold a NUL byte", ""});
                Access{}(draft.options) = value;
                return {};
            },
            [](const Options& options) -> std::optional<std::string> { return Access{}(options); }};
}

// "a, b or c"
template <typename Enum>
std::string enumerate(std::span<const Named<Enum>> names) {
    std::string list;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (i != 0) list += i + 1 == names.size() ? " or " : ", ";
        list += names[i].name;
    }
    return list;
}

template <typename Enum>
Parsed<Enum> parse_choice(std::string_view value, std::span<const Named<Enum>> names) {
    for (const auto& named : names)
        if (named.name == value) return named.value;
    return std::unexpected(
        Complaint{fmt::format("`{}` is not one of its values", value), enumerate(names)});
}

template <auto names, typename Access>
constexpr Setting choice(std::string_view yaml, std::string_view option, Access) {
    return {yaml, option, SettingKind::Choice,
            [](Draft& draft, std::string_view value, const Location&) -> Parsed<void> {
                const auto parsed = parse_choice(value, names());
                if (!parsed) return std::unexpected(parsed.error());
                Access{}(draft.options) = *parsed;
                return {};
            },
            [](const Options& options) -> std::optional<std::string> {
                return std::string(name_of(names(), Access{}(options)));
            }};
}

}  // namespace plyfs::config
