// SPDX-License-Identifier: GPL-2.0-or-later
//
// From branch patterns to directories: expands glob(7) patterns and makes paths real.
#pragma once

#include <string>
#include <vector>

#include "config/branch_pattern.h"

namespace plyfs::config {

// The real, absolute paths of the directories a pattern stands for, in the order of their names.
// A pattern with wildcards takes directories only; where it matches none, a directory of exactly
// that name is taken. A path without wildcards must exist, but may be something else than a
// directory: validation says so.
std::expected<std::vector<std::string>, ConfigError> expand(const BranchPattern& branch);

// `path` itself if absolute, else below `directory`.
std::string absolute_path(const std::string& path, const std::string& directory);

}  // namespace plyfs::config
