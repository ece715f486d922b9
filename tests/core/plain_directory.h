// SPDX-License-Identifier: GPL-2.0-or-later
//
// The same verbs as DrivenUnion's by path, as system calls on a plain directory: what a union is
// held against. Symlinks on the way are ENOTDIR, as they are to a union: following them is the
// kernel's part.
#pragma once

#include <string>
#include <string_view>

#include "core/scratch_file_system.h"
#include "sys/unique_fd.h"

namespace plyfs::test {

class PlainDirectory {
public:
    const std::string& path() const noexcept { return directory_.path(); }

    int mkdir(const std::string& path, mode_t mode) const;
    int mknod(const std::string& path, mode_t mode) const;
    int symlink(const std::string& target, const std::string& path) const;
    int link(const std::string& path, const std::string& new_path) const;
    int unlink(const std::string& path) const;
    int rmdir(const std::string& path) const;
    int rename(const std::string& path, const std::string& new_path, unsigned flags) const;
    int chmod(const std::string& path, mode_t mode) const;
    int truncate(const std::string& path, off_t size) const;
    int set_xattr(const std::string& path, const std::string& name, std::string_view value,
                  int flags) const;
    int remove_xattr(const std::string& path, const std::string& name) const;
    // `descriptor` is set where it is 0 that is returned.
    int open(const std::string& path, int flags, mode_t mode, UniqueFd& descriptor) const;

private:
    ScratchDirectory directory_;
};

}  // namespace plyfs::test
