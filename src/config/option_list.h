// SPDX-License-Identifier: GPL-2.0-or-later
//
// Splits what follows -o: KEY[=VALUE] joined by commas. `\,` and `\\` stand for a comma and a
// backslash in a value; other backslashes are kept. Text only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plyfs::config {

struct Option {
    std::string written;               // the key as the user wrote it
    std::string key;                   // with `-` for every `_`
    std::optional<std::string> value;  // absent without `=`, which differs from empty
    std::string raw;                   // the value with all its backslashes
};

// Empty elements (`a,,b`) are skipped, as mount(8) skips them.
std::vector<Option> split_options(std::string_view text);

}  // namespace plyfs::config
