// SPDX-License-Identifier: GPL-2.0-or-later
//
// The directories that overlayfs makes inside of `workdir=`, for unions that share theirs with it
// (overlayfs: ovl_workdir_create, ovl_make_workdir, ovl_get_indexdir):
//
//   work                           temporary objects; emptied at mount
//   work/incompat/FEATURE          who does not know FEATURE must not mount
//   work/incompat/volatile/dirty   mounted `volatile`, and not made clean since: after a crash the
//                                  writable layer may hold anything
//   index                          index_name.h; kept, but for its temporary objects
//
// `base` is a descriptor of that directory, O_PATH will do. Thread-safe, but a work directory
// belongs to one mount; nothing here finds out about another one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::format {

// Where features stand, from that directory.
inline constexpr std::string_view kIncompatibleFeatures = "work/incompat";

struct OverlayWork {
    UniqueFd work;   // O_PATH
    UniqueFd index;  // O_PATH; none: it was not asked for
};

// What stands in work/incompat, sorted: the features because of which it must not be mounted.
// Empty: it may be. "volatile": the layers were left in an unknown state; thrown away, or taken by
// the user's word with remove_volatile(). Errnos: of openat(2), getdents64(2).
Result<std::vector<std::string>> incompatible_features(int base);

// Makes what is missing and sweeps what is stale. What is made gets mode 0700 and no ACLs, whatever
// `base` hands down (the kernel gives mode 0, which only CAP_DAC_OVERRIDE passes). EINVAL:
// incompatible_features is not empty; nothing was touched. Else the errnos of mkdirat(2),
// openat(2), fchmod(2), and of sweep.
Result<OverlayWork> open_overlay_work(int base, bool with_index);

// Leaves the volatile mark, on disk by the return. To be called after open_overlay_work and before
// the first change without fsync. Errnos: of mkdirat(2), openat(2), fsync(2).
Result<void> set_volatile(int base);

// Takes it away, once everything is on disk (syncfs(2)); features of others stay. No mark: nothing
// to do. Errnos: of openat(2), unlinkat(2).
Result<void> remove_volatile(int base);

}  // namespace plyfs::format
