// SPDX-License-Identifier: GPL-2.0-or-later
//
// The system calls of the workloads. They exit with a message when one fails: a figure of a run
// that did not do its work is worth nothing.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "sys/unique_fd.h"

namespace plyfs::bench {

[[noreturn]] void die(const std::string& what);

// `flags`, `mode` as for open(2).
UniqueFd open_file(const std::string& path, int flags, unsigned mode = 0644);
void write_file(const std::string& path, std::size_t size);
void make_directory(const std::string& path);
void remove_file(const std::string& path);
void rename_file(const std::string& from, const std::string& to);
void change_mode(const std::string& path, unsigned mode);
// It must be a file of that size, with that mode.
void check_file(const std::string& path, std::size_t size, unsigned mode);
// There must be `expected` bytes.
void read_to_end(const UniqueFd& file, std::span<char> buffer, std::size_t expected);
// The name must not be there.
void stat_missing(const std::string& path);
// Reads the names, which must be `expected`, "." and ".." among them.
void list_directory(const std::string& path, std::size_t expected);
// The same, with the status of each.
void list_directory_status(const std::string& path, std::size_t expected);
// The kernel's, of all file systems; what is dirty stays.
void drop_caches();
void remove_tree(const std::string& path);

}  // namespace plyfs::bench
