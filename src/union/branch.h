// SPDX-License-Identifier: GPL-2.0-or-later
//
// One directory that is united, and the ordered set of them. Immutable once opened, so safe to
// read from any thread. A Branch owns its root descriptor and the descriptor that keeps the
// original mount busy; whatever lies below is reached from the root, component by component.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/options.h"
#include "format/handle_record.h"
#include "sys/attributes.h"
#include "sys/result.h"
#include "sys/unique_fd.h"
#include "union/branch_space.h"
#include "union/layer_writer.h"
#include "union/link_index.h"
#include "union/work_directory.h"

namespace plyfs {

using config::BranchMode;

// The position of a branch in its BranchSet.
using BranchIndex = std::uint16_t;

class Branch {
public:
    // Opens the directory `options.path`. A read-only branch is reached through a read-only clone
    // of its mount; where the right to mount is missing (EPERM, ENOSYS) it is used as it is,
    // guarded() says so, and spare_access_times() what is left to do.
    // ENOENT, ENOTDIR, EACCES: of the path. Others: of open_tree(2) and mount_setattr(2).
    // `mount` names the mount in the branch's work directory. `no_atime`: reads that are passed
    // through leave the access times too (through a clone of the mount, where that may be made).
    // `marks`: the form of those that are written on it.
    static Result<std::unique_ptr<Branch>> open(const config::BranchOptions& options,
                                                std::uint64_t default_min_free_space,
                                                const MountId& mount, bool no_atime = false,
                                                const format::MarkWish& marks = {});

    // O_PATH descriptor of the branch's root; lives as long as the Branch.
    int root() const noexcept { return root_.get(); }
    const std::string& path() const noexcept { return path_; }
    BranchMode mode() const noexcept { return mode_; }
    // Existing files may be changed.
    bool writable() const noexcept { return mode_ != BranchMode::ReadOnly; }
    // New objects may be made.
    bool creatable() const noexcept { return mode_ == BranchMode::ReadWrite; }
    // Bytes that must stay free for the create policies to pick it.
    std::uint64_t min_free_space() const noexcept { return min_free_space_; }
    // The kernel itself refuses writes to this read-only branch.
    bool guarded() const noexcept { return guarded_; }
    // What descriptors of its files read after a copy-up; of read-only branches.
    config::Readers readers() const noexcept { return readers_; }
    // What is read must be opened with O_NOATIME, as far as may be: its access times are to stay,
    // and the mount does not see to it.
    bool spare_access_times() const noexcept { return spare_access_times_; }
    // Each change of its files has a change time of its own, once the one before was asked for:
    // equal times mean equal files (sys/fine_times.h). As found out by learn_times(), which makes
    // an unnamed file on a writable branch; not to be called while requests are served.
    bool fine_times() const noexcept { return fine_times_; }
    void learn_times();
    // st_dev of the root.
    std::uint64_t device() const noexcept { return device_; }
    // Before it is used: goes on with the root of another process, which is on the same clone of
    // the mount. ESTALE: it is another directory.
    Result<void> share_root(UniqueFd root);
    // The space of the branch's file system, remembered for a moment.
    BranchSpace& space() const noexcept { return *space_; }
    // Where temporary objects and intents go; for writable branches only.
    WorkDirectory& work() const noexcept { return *work_; }
    // How marks get on it; for writable branches only.
    LayerWriter& layer() const noexcept { return *layer_; }
    // The copies on it of lower files with several names; for writable branches only.
    LinkIndex& index() const noexcept { return *index_; }
    // Of its file system, as records of file handles have it; null: it has none.
    const format::Uuid& uuid() const noexcept { return uuid_; }

private:
    Branch() = default;

    std::string path_;
    BranchMode mode_ = BranchMode::ReadOnly;
    config::Readers readers_ = config::Readers::Follow;
    std::uint64_t min_free_space_ = 0;
    std::uint64_t device_ = 0;
    bool guarded_ = false;
    bool spare_access_times_ = false;
    bool fine_times_ = false;
    UniqueFd original_;  // keeps the mount busy that a clone was made of
    UniqueFd root_;
    UniqueFd work_home_;  // the directory apart that the work directory is in; else empty
    std::unique_ptr<BranchSpace> space_;
    std::unique_ptr<WorkDirectory> work_;
    std::unique_ptr<LayerWriter> layer_;
    std::unique_ptr<LinkIndex> index_;
    format::Uuid uuid_{};
};

// In precedence: writable branches first. An immutable snapshot; a reload makes a new one.
using BranchSet = std::vector<std::unique_ptr<Branch>>;

}  // namespace plyfs
