// SPDX-License-Identifier: GPL-2.0-or-later
//
// All that can be seen in a tree, as text by path, so that a union and a plain directory compare.
// Left out, because a union differs on purpose: inode numbers (only which names are links of one
// file counts), the link counts and sizes of directories, times, and st_dev.
#pragma once

#include <map>
#include <string>

#include "core/driven_union.h"

namespace plyfs::test {

using VisibleTree = std::map<std::string, std::string>;

VisibleTree visible_tree(DrivenUnion& u);
VisibleTree visible_tree(const std::string& directory);

// Where they differ; empty if they don't.
std::string difference(const VisibleTree& expected, const VisibleTree& found);

}  // namespace plyfs::test
