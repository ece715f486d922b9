// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/mounted_branches.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <string>
#include <utility>
#include <vector>

#include "format/overlay_work.h"
#include "union/recovery.h"
#include "union/volatile_mark.h"

namespace plyfs::session {
namespace {

format::MarkWish mark_wish(const config::CopyUpOptions& options) {
    format::MarkWish wish;
    switch (options.xattrs) {
        case config::MarkNames::Auto: break;
        case config::MarkNames::Trusted: wish.names = format::Namespace::Trusted; break;
        case config::MarkNames::User: wish.names = format::Namespace::User; break;
    }
    switch (options.whiteouts) {
        case config::WhiteoutForm::Auto: break;
        case config::WhiteoutForm::Device: wish.whiteout = format::WhiteoutKind::Device; break;
        case config::WhiteoutForm::Xattr: wish.whiteout = format::WhiteoutKind::XattrFile; break;
        case config::WhiteoutForm::Dot: wish.whiteout = format::WhiteoutKind::DotFile; break;
    }
    return wish;
}

std::vector<PlanBranch> plan_branches(const BranchSet& branches) {
    std::vector<PlanBranch> result;
    for (const auto& branch : branches) {
        result.push_back(
            {branch->root(), branch->writable() ? &branch->work() : nullptr, branch->path()});
    }
    return result;
}

// The writable branches may hold anything, or what this plyfs does not know.
std::expected<void, SessionError> check_usable(const config::Options& options,
                                               const BranchSet& branches) {
    for (std::size_t index = 0; index < branches.size(); ++index) {
        const Branch& branch = *branches[index];
        if (!branch.writable()) continue;
        const auto marks = blocking_marks(branch);
        if (!marks) {
            return refuse(fmt::format("branch {}: its work directory can't be examined: {}",
                                      branch.path(), marks.error().message()));
        }
        if (marks->empty()) continue;
        const std::string directory = options.branches[index].work_directory.value_or(
            fmt::format("{}/{}", branch.path(), kWorkDirectoryName));
        const std::string place =
            fmt::format("{}/{}/{}", directory, format::kIncompatibleFeatures, marks->front());
        if (marks->front() != "volatile") {
            return refuse(fmt::format("branch {}: {} asks for something that plyfs does not know",
                                      branch.path(), place));
        }
        return refuse(fmt::format(
            "branch {}: it was mounted `volatile` and not unmounted cleanly by plyfs (or is "
            "mounted "
            "now), so that it may hold anything; throw it away with its work directory, or, if the "
            "system has not crashed since, remove {}",
            branch.path(), place));
    }
    return {};
}

std::expected<void, SessionError> mark_volatile_branches(const BranchSet& branches) {
    for (const auto& branch : branches) {
        if (!branch->writable()) continue;
        const auto marked = mark_volatile(*branch);
        if (marked) continue;
        for (const auto& done : branches) {
            if (done == branch) break;
            if (done->writable()) (void)unmark_volatile(*done);
        }
        return refuse(fmt::format("branch {}: can't be marked as volatile: {}", branch->path(),
                                  marked.error().message()));
    }
    return {};
}

// Nobody is to find out in the middle of something that the marks asked for can't be made.
std::expected<void, SessionError> check_marks(const BranchSet& branches) {
    for (const auto& branch : branches) {
        if (!branch->writable()) continue;
        const auto refusal = branch->layer().refusal();
        if (refusal && !*refusal) continue;
        const std::string reason =
            refusal ? (*refusal)->message() : std::string(refusal.error().message());
        return refuse(fmt::format("branch {}: {}", branch->path(), reason));
    }
    return {};
}

void recover_branches(const BranchSet& branches) {
    const RecoveryReport report = recover(plan_branches(branches));
    for (const std::string& warning : report.warnings) spdlog::warn("{}", warning);
    if (report.completed + report.undone + report.damaged + report.left > 0) {
        spdlog::info(
            "recovered after a crash: {} operations completed, {} undone, {} left, {} damaged",
            report.completed, report.undone, report.left, report.damaged);
    }
}

std::expected<void, SessionError> try_to_prepare(const config::Options& options,
                                                 const BranchSet& branches) {
    if (const auto usable = check_usable(options, branches); !usable) return usable;
    recover_branches(branches);
    if (const auto marks = check_marks(branches); !marks) return marks;
    return options.is_volatile ? mark_volatile_branches(branches)
                               : std::expected<void, SessionError>{};
}

}  // namespace

std::expected<BranchSet, SessionError> open_branches(const config::Options& options) {
    const auto mount = make_mount_id();
    if (!mount) return refuse(fmt::format("no random numbers: {}", mount.error().message()));
    BranchSet branches;
    for (config::BranchOptions branch : options.branches) {
        branch.readers = branch.readers.value_or(options.readers);
        auto opened = Branch::open(branch, options.min_free_space, *mount, options.no_atime,
                                   mark_wish(options.copy_up));
        if (!opened) {
            return refuse(fmt::format("branch {}: {}", branch.path, opened.error().message()));
        }
        if ((*opened)->mode() == BranchMode::ReadOnly && !(*opened)->guarded()) {
            spdlog::warn(
                "branch {}: no right to clone its mount; it is kept read-only by plyfs alone",
                branch.path);
        }
        branches.push_back(*std::move(opened));
    }
    return branches;
}

std::expected<void, SessionError> prepare_branches(const config::Options& options,
                                                   const BranchSet& branches) {
    auto prepared = try_to_prepare(options, branches);
    if (!prepared) {
        tidy(plan_branches(branches));
        return prepared;
    }
    for (const auto& branch : branches) branch->learn_times();
    return {};
}

void unmark_branches(const config::Options& options, const BranchSet& branches) {
    for (const auto& branch : branches) {
        if (!options.is_volatile || !branch->writable()) continue;
        const auto unmarked = unmark_volatile(*branch);
        if (unmarked) continue;
        spdlog::warn("branch {}: stays marked as volatile: {}", branch->path(),
                     unmarked.error().message());
    }
}

void release_branches(const BranchSet& branches) {
    tidy(plan_branches(branches));
}

void leave_branches(const BranchSet& branches) {
    leave(plan_branches(branches));
}

}  // namespace plyfs::session
