// SPDX-License-Identifier: GPL-2.0-or-later
//
// What tests do with files again and again. Those that return a value fail the test when the
// system call fails; the others return its Outcome.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "mount/outcome.h"
#include "sys/unique_fd.h"

namespace plyfs::test {

bool exists(const std::string& path);  // symlinks are not followed
// A descriptor; where it is not valid errno says why.
UniqueFd open_file(const std::string& path, int flags, mode_t mode = 0644);
Outcome try_open(const std::string& path, int flags, mode_t mode = 0644);

// Creates or overwrites.
void put(const std::string& path, std::string_view content);
std::string content(const std::string& path);
std::string content(int descriptor);  // from its start
Outcome write_all(int descriptor, std::string_view data);

struct stat status(const std::string& path);  // symlinks are not followed
struct stat status(int descriptor);
struct statx extended_status(const std::string& path);
mode_t mode_of(const std::string& path);  // permissions with SUID, SGID and sticky
std::int64_t nanoseconds(const timespec& time);

// renameat2(2) and utimensat(2), of a symlink itself.
Outcome rename_to(const std::string& from, const std::string& to, unsigned flags = 0);
Outcome set_times(const std::string& path, const timespec& access, const timespec& modification);

void make_directory(const std::string& path, mode_t mode = 0755);
// Names without `.` and `..`.
std::set<std::string> names(const std::string& directory);

Outcome set_xattr(const std::string& path, const char* name, std::string_view value, int flags = 0);
std::string get_xattr(const std::string& path, const char* name);
Outcome try_get_xattr(const std::string& path, const char* name);
std::set<std::string> xattr_names(const std::string& path);

// The inode flags of ioctl_iflags(2).
int inode_flags(const std::string& path);
Outcome set_inode_flags(const std::string& path, int flags);
// As chattr(1) does: the flags that are not named stay, such as the one that says how ext4 stores
// the file. `flags`: FS_APPEND_FL, FS_IMMUTABLE_FL or both; 0: neither.
Outcome protect(const std::string& path, int flags);

}  // namespace plyfs::test
