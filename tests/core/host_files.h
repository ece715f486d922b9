// SPDX-License-Identifier: GPL-2.0-or-later
//
// Files of the machine, looked at and changed behind the union's back.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace plyfs::test {

bool exists(const std::string& path);
std::string host_read(const std::string& path);
void host_write(const std::string& path, std::string_view bytes);
// Keeps SGID, which the test program has no right to any more.
void host_chmod(const std::string& path, mode_t mode);
struct stat host_stat(const std::string& path);
std::size_t open_descriptors();

// Everything there is to know of the tree at `path`, as text: names, contents, owners, modes,
// times, link counts, inode numbers, extended attributes. Changes no access time itself.
std::string tree_state(const std::string& path);

}  // namespace plyfs::test
