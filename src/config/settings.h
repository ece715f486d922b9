// SPDX-License-Identifier: GPL-2.0-or-later
//
// The one table of settings. The YAML file, the -o options, the printed configuration, the JSON
// schema and the man pages all hold to it (the last two by a test). Constant data.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/draft.h"

namespace plyfs::config {

enum class SettingKind { Boolean, Size, Duration, Count, Choice, Text };

struct Setting {
    std::string_view yaml;    // where it is in the file: `cache.entry`
    std::string_view option;  // its -o name with `-` for `_`; "": only flags or the file set it
    SettingKind kind;
    // Reads `value` into the draft's options; the location resolves relative paths.
    Parsed<void> (*apply)(Draft& draft, std::string_view value, const Location& where);
    // Its value as the file would have it, unquoted; nothing if the setting is not in force.
    std::optional<std::string> (*show)(const Options& options);
};

std::span<const Setting> settings();

// Null where there is none. An option is to be normalized before.
const Setting* find_setting(std::string_view yaml);
const Setting* find_option(std::string_view option);

// Applies `value` and records where it came from.
Parsed<void> apply_setting(const Setting& setting, Draft& draft, std::string_view value,
                           const Location& where);

// Keys of the file that are not single values: `branches`, `mountpoint`, `version`.
std::span<const std::string_view> structural_keys();
// Keys of one branch that is written as a mapping.
std::span<const std::string_view> branch_keys();

// The names that may follow `section` in the file, for a suggestion ("": at its top).
std::vector<std::string_view> keys_below(std::string_view section);

}  // namespace plyfs::config
