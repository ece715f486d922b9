// SPDX-License-Identifier: GPL-2.0-or-later
//
// POSIX locks on the branch's files: one open file description per file and owner, since open file
// description locks (fcntl(2)) of different descriptions conflict as processes' locks do, and all
// locks of an owner go when its description is closed. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "sys/mutex.h"
#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::session {

class BranchLocks {
public:
    // The description for the locks of `owner` on `node`, made from `file` if there is none.
    Result<std::shared_ptr<const UniqueFd>> description(std::uint64_t node, std::uint64_t owner,
                                                        int file);
    // `owner` closed a descriptor of the file: all its locks on it go (POSIX, fcntl()).
    void drop(std::uint64_t node, std::uint64_t owner);

    // For a successor process, which goes on with the descriptions, and so with the locks.
    void save(const std::function<void(std::uint64_t node, std::uint64_t owner, int descriptor)>&
                  visit) const;
    void restore(std::uint64_t node, std::uint64_t owner, UniqueFd descriptor);

private:
    mutable Mutex mutex_;
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::shared_ptr<const UniqueFd>> held_
        GUARDED_BY(mutex_);
};

}  // namespace plyfs::session
