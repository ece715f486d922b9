// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/mounted_branches.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <string>
#include <utility>
#include <vector>

#include "union/recovery.h"

namespace plyfs::session {
namespace {

std::unexpected<SessionError> refuse(std::string text) {
    return std::unexpected(SessionError{std::move(text)});
}

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

}  // namespace

std::expected<BranchSet, SessionError> open_branches(const config::Options& options) {
    const auto mount = make_mount_id();
    if (!mount) return refuse(fmt::format("no random numbers: {}", mount.error().message()));
    BranchSet branches;
    for (const config::BranchOptions& branch : options.branches) {
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

std::expected<void, SessionError> prepare_branches(const BranchSet& branches) {
    recover_branches(branches);
    auto checked = check_marks(branches);
    if (!checked) tidy(plan_branches(branches));
    return checked;
}

void release_branches(const BranchSet& branches) {
    tidy(plan_branches(branches));
}

}  // namespace plyfs::session
