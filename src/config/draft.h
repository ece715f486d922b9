// SPDX-License-Identifier: GPL-2.0-or-later
//
// A configuration while its sources are read into it, in order: the YAML file, then the command
// line. A later value replaces an earlier one. Not thread-safe; lives on the stack of load().
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "config/branch_pattern.h"
#include "config/options.h"

namespace plyfs::config {

// Where each setting that was given was given last, by its name in the file (`cache.entry`). A
// setting that is not in here has its default.
using Origins = std::map<std::string, Location, std::less<>>;

struct Draft {
    Options options;  // without branches
    std::vector<BranchPattern> branches;
    bool overlay_form = false;  // options name the branches (overlay_form.h): defaults follow
    Origins origins;
    std::vector<std::string> warnings;
};

}  // namespace plyfs::config
