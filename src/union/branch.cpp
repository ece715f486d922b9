// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/branch.h"

#include <fcntl.h>

#include "sys/file_system_identity.h"
#include "sys/fine_times.h"
#include "sys/mount_clone.h"
#include "sys/open.h"
#include "sys/statx.h"

namespace plyfs {

Result<std::unique_ptr<Branch>> Branch::open(const config::BranchOptions& options,
                                             std::uint64_t default_min_free_space,
                                             const MountId& mount, bool no_atime,
                                             const format::MarkWish& marks) {
    std::unique_ptr<Branch> branch(new Branch);
    branch->path_ = options.path;
    branch->mode_ = options.mode;
    branch->readers_ = options.readers.value_or(config::Readers::Follow);
    branch->min_free_space_ = options.min_free_space.value_or(default_min_free_space);
    branch->original_ = TRY(sys::open_host_path(options.path, O_PATH | O_DIRECTORY));
    const bool read_only = options.mode == BranchMode::ReadOnly;
    // Of two mounts, one can't be renamed to from the other: where the work directory is apart, no
    // clone is made.
    if (read_only || (no_atime && !options.work_directory)) {
        auto clone = sys::clone_mount(branch->original_.get(), {read_only, no_atime});
        if (clone) {
            branch->root_ = *std::move(clone);
            branch->guarded_ = read_only;
        } else if (clone.error() != EPERM && clone.error() != ENOSYS) {
            return fail(clone.error());
        } else {
            branch->spare_access_times_ = true;
        }
    }
    if (!branch->root_) branch->root_ = TRY(sys::duplicate(branch->original_.get()));
    branch->space_ = std::make_unique<BranchSpace>(branch->root());
    branch->device_ = TRY(sys::stat_descriptor(branch->root())).real.device;
    if (branch->writable()) {
        if (options.work_directory) {
            branch->work_home_ =
                TRY(sys::open_host_path(*options.work_directory, O_PATH | O_DIRECTORY));
            branch->spare_access_times_ = no_atime;
        }
        const bool apart = options.work_directory.has_value();
        branch->work_ = std::make_unique<WorkDirectory>(
            apart ? branch->work_home_.get() : branch->root(), mount,
            apart ? WorkDirectory::Home::Apart : WorkDirectory::Home::Root);
        branch->index_ = std::make_unique<LinkIndex>(branch->work());
        branch->layer_ = std::make_unique<LayerWriter>(branch->work(), marks);
    }
    const auto identity = sys::file_system_identity(branch->root());
    if (identity && identity->uuid_length == branch->uuid_.size()) branch->uuid_ = identity->uuid;
    return branch;
}

Result<void> Branch::share_root(UniqueFd root) {
    const RealId mine = TRY(sys::stat_descriptor(root_.get())).real;
    const RealId other = TRY(sys::stat_descriptor(root.get())).real;
    if (mine.device != other.device || mine.inode != other.inode) return fail(ESTALE);
    // In its place, since others know it by number.
    return sys::replace(root_.get(), root.get());
}

void Branch::learn_times() {
    fine_times_ = creatable() && sys::has_fine_times(root());
}

}  // namespace plyfs
