// SPDX-License-Identifier: GPL-2.0-or-later
//
// From text to one YAML document, within limits that keep a hostile or mistaken file harmless.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstddef>
#include <string_view>

#include "config/config_error.h"

namespace plyfs::config {

// No sensible configuration is larger, and a wrong path (a disk image, /dev/zero) ends here.
inline constexpr std::size_t kLargestFile = std::size_t{1} << 20;

// An empty text is a null node. `whole` is the place of errors that have no line of their own.
std::expected<YAML::Node, ConfigError> parse_document(std::string_view text, const Location& whole);

// `where` with the line and column of a mark, if it has them.
Location at_mark(Location where, const YAML::Mark& mark);

}  // namespace plyfs::config
