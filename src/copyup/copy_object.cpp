// SPDX-License-Identifier: GPL-2.0-or-later
#include "copyup/copy_object.h"

#include <fcntl.h>

#include <utility>

#include "sys/data.h"
#include "sys/entry.h"
#include "sys/metadata.h"
#include "sys/open.h"
#include "sys/small_file.h"
#include "sys/statx.h"

namespace plyfs::copyup {
namespace {

// For the moment until copy_ownership(): only the daemon may open it.
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;

// One copy, from its start to its end.
class ObjectCopy {
public:
    ObjectCopy(int source, int directory, Name name, const CopyOptions& options)
        : source_(source), directory_(directory), name_(name), options_(options) {}

    Result<CopiedObject> run();
    // After an error of run().
    void remove() const;

private:
    bool is_directory() const { return copied_.source.is_directory(); }
    bool is_regular() const { return copied_.source.is_regular(); }

    Result<void> open_source();
    Result<void> make();
    Result<void> make_special();
    Result<void> copy_bytes();
    Result<void> copy_flags();
    Result<void> make_durable() const;

    // Constant after construction.
    const int source_;
    const int directory_;
    const Name name_;
    const CopyOptions& options_;

    CopiedObject copied_;
    UniqueFd opened_;          // of the source, where it had to be opened for reading
    int readable_ = -1;        // the source open for reading; none of a special file
    std::uint32_t flags_ = 0;  // FS_*_FL of the source
    bool made_ = false;        // the name exists and is ours
};

// Opened for reading in a way that leaves the access time.
Result<UniqueFd> reopen_quietly(int source, int flags) {
    auto opened = sys::reopen(source, flags | O_RDONLY | O_NOATIME);
    // open(2): O_NOATIME is for the owner of the file and the privileged.
    if (!opened && opened.error() == EPERM) opened = sys::reopen(source, flags | O_RDONLY);
    return opened;
}

Result<void> ObjectCopy::open_source() {
    if (!is_regular() && !is_directory()) return {};
    const int open_flags = TRY(sys::open_flags(source_));
    if ((open_flags & O_PATH) == 0 && (open_flags & O_ACCMODE) != O_WRONLY &&
        (is_directory() || (open_flags & O_NOATIME) != 0)) {
        readable_ = source_;
        return {};
    }
    auto opened = reopen_quietly(source_, is_directory() ? O_DIRECTORY : O_NONBLOCK);
    // A directory's flags are all that is read of it: a user's daemon may see it and not read it.
    if (!opened && opened.error() == EACCES && is_directory()) return {};
    opened_ = TRY(std::move(opened));
    readable_ = opened_.get();
    return {};
}

Result<void> ObjectCopy::make_special() {
    if (S_ISLNK(copied_.source.mode)) {
        const std::string target = TRY(sys::read_link(source_));
        return sys::make_symlink(directory_, name_, target.c_str());
    }
    return sys::make_node(directory_, name_, (copied_.source.mode & S_IFMT) | kFileMode,
                          copied_.source.device_number);
}

Result<void> ObjectCopy::make() {
    if (is_regular()) {
        copied_.descriptor =
            TRY(sys::open_at(directory_, name_, O_RDWR | O_CREAT | O_EXCL, kFileMode));
        made_ = true;
        return {};
    }
    if (is_directory()) {
        TRY(sys::make_directory(directory_, name_, kDirectoryMode));
    } else {
        TRY(make_special());
    }
    made_ = true;
    copied_.descriptor = TRY(sys::open_at(directory_, name_, O_PATH));
    return {};
}

Result<void> ObjectCopy::copy_bytes() {
    if (!is_regular()) return {};
    const int target = copied_.descriptor.get();
    if (!options_.size_without_data) {
        copied_.data = TRY(copy_data(readable_, copied_.source, target, options_.observer));
        return {};
    }
    if (*options_.size_without_data == 0) return {};
    return sys::truncate(target, static_cast<off_t>(*options_.size_without_data));
}

Result<void> ObjectCopy::copy_flags() {
    if (!has_kept_flags(flags_)) return {};
    if (is_regular()) return copy_inode_flags(flags_, copied_.descriptor.get());
    const UniqueFd target =
        TRY(sys::reopen(copied_.descriptor.get(), O_RDONLY | O_DIRECTORY | O_NOATIME));
    return copy_inode_flags(flags_, target.get());
}

Result<void> ObjectCopy::make_durable() const {
    if (!options_.durable) return {};
    if (is_regular()) return sys::synchronize(copied_.descriptor.get(), false);
    if (is_directory()) return sys::synchronize_directory(copied_.descriptor.get());
    return {};
}

Result<CopiedObject> ObjectCopy::run() {
    copied_.source = TRY(sys::stat_descriptor(source_));
    TRY(open_source());
    if (readable_ >= 0) flags_ = TRY(inode_flags(readable_));
    copied_.protecting_flags = protecting_flags(flags_);
    TRY(make());
    const int target = copied_.descriptor.get();
    TRY(copy_bytes());
    TRY(copy_ownership(readable_ >= 0 ? readable_ : source_, copied_.source, target,
                       options_.xattrs));
    TRY(copy_flags());
    TRY(copy_times(copied_.source, target));
    TRY(make_durable());
    copied_.attributes = TRY(sys::stat_descriptor(target));
    return std::move(copied_);
}

void ObjectCopy::remove() const {
    if (!made_) return;
    // Who sweeps the directory later finds what stays here.
    (void)(is_directory() ? sys::remove_directory(directory_, name_)
                          : sys::remove_name(directory_, name_));
}

}  // namespace

Result<CopiedObject> copy_object(int source, int directory, Name name, const CopyOptions& options) {
    ObjectCopy copy(source, directory, name, options);
    auto copied = copy.run();
    if (!copied) copy.remove();
    return copied;
}

}  // namespace plyfs::copyup
