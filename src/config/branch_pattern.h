// SPDX-License-Identifier: GPL-2.0-or-later
//
// The branch grammar: PATTERN[=MODE[,MINFREE]], joined by `:`. Text only; nothing is looked up on
// disk (that is branch_expansion.h).
//
//   /mnt/ssd=RW,20G:/mnt/hdd*:/srv/archive=ro
//
// MODE is RW (default), NC or RO in either case. PATTERN is a glob(7). The mode follows the last
// `=`; what follows it is part of the path only if it holds a `/` (`/srv/a=b/c`), because a mode
// cannot, so that a mistyped mode is an error and never a path. `\:` and `\=` stand for a colon
// and an equals sign in the path; other backslashes are left to glob(7).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config_error.h"
#include "config/options.h"

namespace plyfs::config {

// A branch as it was written. `path` may be relative to where.directory.
struct BranchPattern {
    std::string path;
    bool glob = true;  // false: `path` is a path to be taken literally, backslashes too
    BranchMode mode = BranchMode::ReadWrite;
    std::optional<std::uint64_t> min_free_space;
    Location where;
    std::optional<Readers> readers{};
    std::optional<std::string> work_directory{};  // may be relative too
};

// RW, NC or RO, in either case.
Parsed<BranchMode> parse_branch_mode(std::string_view text);

// One branch; `where` is left empty.
Parsed<BranchPattern> parse_branch(std::string_view text);

// One branch or more, appended to `branches`. What is wrong is appended to `errors`.
void parse_branch_list(std::string_view text, const Location& where,
                       std::vector<BranchPattern>& branches, ConfigErrors& errors);

}  // namespace plyfs::config
