// SPDX-License-Identifier: GPL-2.0-or-later
//
// A tree as text by path, to be compared with another one or with itself later. Looking at it
// changes no access time.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace plyfs::test {

using Tree = std::map<std::string, std::string>;

enum class Detail : std::uint8_t {
    // What two file systems that went through the same have in common: types, modes, owners,
    // contents, link counts and which names are one file, extended attributes, and modification
    // times that somebody set, except the root's. Not inode numbers, nor sizes and link counts of
    // directories.
    Shown,
    // All there is to know, access times too.
    Everything,
};

// The root is "".
Tree tree_of(const std::string& root, Detail detail);

// Where they differ; empty if they don't.
std::string difference(const Tree& expected, const Tree& found);

}  // namespace plyfs::test
