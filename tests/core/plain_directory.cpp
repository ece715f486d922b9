// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/plain_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "sys/credentials.h"

namespace plyfs::test {
namespace {

int outcome(long result) {
    return result < 0 ? errno : 0;
}

// The parent of the last name of a path, opened name by name.
struct Parent {
    Parent(const std::string& root, const std::string& path) {
        descriptor.reset(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (!descriptor) {
            error = errno;
            return;
        }
        std::size_t at = 0;
        for (std::size_t slash = path.find('/'); slash != std::string::npos;
             slash = path.find('/', at)) {
            const std::string part = path.substr(at, slash - at);
            const int next = ::openat(descriptor.get(), part.c_str(),
                                      O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (next < 0) {
                error = errno;
                return;
            }
            descriptor.reset(next);
            at = slash + 1;
        }
        name = path.substr(at);
    }
    int get() const { return descriptor.get(); }

    UniqueFd descriptor;
    std::string name;
    int error = 0;
};

// An object itself, whatever it is, as a path that can be followed.
struct Object {
    Object(const std::string& root, const std::string& path) {
        const Parent parent(root, path);
        error = parent.error;
        if (error != 0) return;
        descriptor.reset(
            ::openat(parent.get(), parent.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        if (!descriptor) error = errno;
        link = "/proc/self/fd/" + std::to_string(descriptor.get());
    }
    const char* c_str() const { return link.c_str(); }

    UniqueFd descriptor;
    std::string link;
    int error = 0;
};

}  // namespace

int PlainDirectory::mkdir(const std::string& path, mode_t mode) const {
    const Parent at(this->path(), path);
    return at.error != 0 ? at.error : outcome(::mkdirat(at.get(), at.name.c_str(), mode));
}

int PlainDirectory::mknod(const std::string& path, mode_t mode) const {
    const Parent at(this->path(), path);
    return at.error != 0 ? at.error : outcome(::mknodat(at.get(), at.name.c_str(), mode, 0));
}

int PlainDirectory::symlink(const std::string& target, const std::string& path) const {
    const Parent at(this->path(), path);
    if (at.error != 0) return at.error;
    return outcome(::symlinkat(target.c_str(), at.get(), at.name.c_str()));
}

int PlainDirectory::link(const std::string& path, const std::string& new_path) const {
    const Parent from(this->path(), path);
    if (from.error != 0) return from.error;
    struct stat status{};
    if (::fstatat(from.get(), from.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return errno;
    const Parent to(this->path(), new_path);
    if (to.error != 0) return to.error;
    return outcome(::linkat(from.get(), from.name.c_str(), to.get(), to.name.c_str(), 0));
}

int PlainDirectory::unlink(const std::string& path) const {
    const Parent at(this->path(), path);
    return at.error != 0 ? at.error : outcome(::unlinkat(at.get(), at.name.c_str(), 0));
}

int PlainDirectory::rmdir(const std::string& path) const {
    const Parent at(this->path(), path);
    return at.error != 0 ? at.error : outcome(::unlinkat(at.get(), at.name.c_str(), AT_REMOVEDIR));
}

int PlainDirectory::rename(const std::string& path, const std::string& new_path,
                           unsigned flags) const {
    const Parent from(this->path(), path);
    if (from.error != 0) return from.error;
    const Parent to(this->path(), new_path);
    if (to.error != 0) return to.error;
    return outcome(::renameat2(from.get(), from.name.c_str(), to.get(), to.name.c_str(), flags));
}

int PlainDirectory::chmod(const std::string& path, mode_t mode) const {
    const sys::KeepSetId keep(true);
    const Object object(this->path(), path);
    return object.error != 0 ? object.error : outcome(::chmod(object.c_str(), mode));
}

int PlainDirectory::truncate(const std::string& path, off_t size) const {
    const Object object(this->path(), path);
    return object.error != 0 ? object.error : outcome(::truncate(object.c_str(), size));
}

int PlainDirectory::set_xattr(const std::string& path, const std::string& name,
                              std::string_view value, int flags) const {
    const Object object(this->path(), path);
    if (object.error != 0) return object.error;
    return outcome(::setxattr(object.c_str(), name.c_str(), value.data(), value.size(), flags));
}

int PlainDirectory::remove_xattr(const std::string& path, const std::string& name) const {
    const Object object(this->path(), path);
    return object.error != 0 ? object.error : outcome(::removexattr(object.c_str(), name.c_str()));
}

int PlainDirectory::open(const std::string& path, int flags, mode_t mode,
                         UniqueFd& descriptor) const {
    const Parent at(this->path(), path);
    if (at.error != 0) return at.error;
    descriptor.reset(::openat(at.get(), at.name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode));
    return descriptor ? 0 : errno;
}

}  // namespace plyfs::test
