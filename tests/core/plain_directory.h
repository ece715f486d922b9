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

    int mkdir(const std::string& path, mode_t mode);
    int mknod(const std::string& path, mode_t mode);
    int symlink(const std::string& target, const std::string& path);
    int link(const std::string& path, const std::string& new_path);
    int unlink(const std::string& path);
    int rmdir(const std::string& path);
    int rename(const std::string& path, const std::string& new_path, unsigned flags);
    int chmod(const std::string& path, mode_t mode);
    int truncate(const std::string& path, off_t size);
    int set_xattr(const std::string& path, const std::string& name, std::string_view value,
                  int flags);
    int remove_xattr(const std::string& path, const std::string& name);
    // `descriptor` is set where it is 0 that is returned.
    int open(const std::string& path, int flags, mode_t mode, UniqueFd& descriptor);

private:
    ScratchDirectory directory_;
};

}  // namespace plyfs::test
