// SPDX-License-Identifier: GPL-2.0-or-later
#include "passthrough/open_files.h"

#include <algorithm>
#include <utility>

namespace plyfs::passthrough {
namespace {

// A file that was registered so often before is expected to be opened once more: its backing stays
// for a while after the last close.
constexpr std::uint8_t kOftenRegistered = 2;

}  // namespace

OpenFiles::OpenFiles(Registrar& registrar, std::function<void(Errno)> refused)
    : registrar_(registrar), refused_(std::move(refused)) {}

OpenFiles::~OpenFiles() {
    for (Shard& shard : shards_) {
        const Lock lock(shard.mutex);
        for (auto& [node, opened] : shard.nodes) close_backing(opened);
    }
}

void OpenFiles::close_backing(Opened& opened) {
    if (opened.backing_id == 0) return;
    registrar_.close_backing(std::exchange(opened.backing_id, 0));
    --backings_;
}

Result<Attachment> OpenFiles::attach(const Opening& opening) {
    std::optional<Errno> refusal;
    auto attached = attach_locked(opening, refusal);
    if (refusal && refused_) refused_(*refusal);
    return attached;
}

Result<Attachment> OpenFiles::attach_locked(const Opening& opening, std::optional<Errno>& refusal) {
    Shard& shard = this->shard(opening.node);
    const Lock lock(shard.mutex);
    Opened& opened = shard.nodes[opening.node];
    std::optional<OpenState> state;
    if (opened.opens > 0) state = OpenState{opened.mode, opened.real, opened.follows};
    IoMode mode = IoMode::Cached;
    switch (decide(state, opened.passed, opening.real, opening.wanted, opening.passable,
                   opening.copied)) {
        case Decision::Stale: return fail(ESTALE);
        case Decision::Busy: return fail(ETXTBSY);
        case Decision::Register: mode = register_backing(shard, opening, opened, refusal); break;
        case Decision::Share: mode = IoMode::Passthrough; break;
        case Decision::Move:
            TRY(move(opening, opened));
            if (opening.wanted == IoMode::Direct) return fail(ETXTBSY);
            mode = IoMode::Passthrough;
            break;
        case Decision::Direct: mode = IoMode::Direct; break;
        case Decision::Cached: mode = opening.shared_file ? IoMode::Direct : IoMode::Cached; break;
    }
    // What is open for direct I/O alone hinders nothing that comes later.
    if (!state || state->mode == IoMode::Direct) opened.mode = mode;

    if (mode != IoMode::Passthrough) {
        refusals_by_.add(refusal                                 ? refusal_of(*refusal)
                         : opening.wanted == IoMode::Passthrough ? Refusal::Beside
                                                                 : opening.why);
    }
    Attachment attachment{mode, 0, false, false};
    ++opened.opens;
    if (opening.may_map) ++opened.mappers;
    if (mode == IoMode::Passthrough) {
        attachment.backing_id = opened.backing_id;
        attachment.first_unseen_writer = opening.may_map && opened.mappers == 1;
        opened.passed = true;
        if (opening.may_map) opened.mapped = true;
        opened.pages.reset();
        ++passthrough_opens_;
    } else if (mode == IoMode::Cached) {
        // What is written through the mount changes the version too: pages of it go once more.
        attachment.keep_pages = opened.pages && opened.pages == opening.version;
        if (attachment.keep_pages) ++kept_pages_;
        opened.pages = opening.version;
        ++cached_opens_;
    } else {
        ++direct_opens_;
    }
    return attachment;
}

IoMode OpenFiles::register_backing(Shard& shard, const Opening& opening, Opened& opened,
                                   std::optional<Errno>& refusal) {
    if (opened.backing_id != 0 && opened.real == opening.real) {
        take_from_idle(shard, opening.node);
        return IoMode::Passthrough;
    }
    if (opened.backing_id != 0) {
        take_from_idle(shard, opening.node);
        close_backing(opened);
    }
    const bool lasting = opened.registrations >= kOftenRegistered;
    const auto backing = registrar_.open_backing(opening.descriptor, lasting);
    if (!backing) {
        ++refusals_;
        refusal = backing.error();
        return opened.passed || opening.shared_file ? IoMode::Direct : IoMode::Cached;
    }
    opened.backing_id = *backing;
    opened.real = opening.real;
    opened.follows = opening.follows;
    opened.registrations = std::min<std::uint8_t>(opened.registrations + 1, kOftenRegistered + 1);
    ++backings_;
    ++registrations_;
    return IoMode::Passthrough;
}

Result<void> OpenFiles::move(const Opening& opening, Opened& opened) {
    TRY(registrar_.rebind_backing(opened.backing_id, opening.descriptor));
    opened.real = opening.real;
    opened.follows = false;
    ++rebound_;
    return {};
}

Result<void> OpenFiles::follow(const Opening& opening) {
    Shard& shard = this->shard(opening.node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(opening.node);
    if (found == shard.nodes.end() || found->second.opens == 0) return {};
    Opened& opened = found->second;
    const OpenState state{opened.mode, opened.real, opened.follows};
    if (decide(state, opened.passed, opening.real, IoMode::Passthrough, true, opening.copied) !=
        Decision::Move) {
        return {};
    }
    return move(opening, opened);
}

bool OpenFiles::detach(std::uint64_t node, bool may_map) {
    Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    if (found == shard.nodes.end() || found->second.opens == 0) return false;
    Opened& opened = found->second;
    if (may_map) --opened.mappers;
    if (--opened.opens > 0) return false;
    if (opened.backing_id == 0) return false;
    if (opened.registrations > kOftenRegistered) return make_idle(shard, node);
    close_backing(opened);
    return false;
}

bool OpenFiles::make_idle(Shard& shard, std::uint64_t node) {
    // Already: what was open did not use it.
    if (std::ranges::find(shard.idle, node, &Idle::node) != shard.idle.end()) return false;
    if (shard.idle.size() == kIdlePerShard) {
        const auto eldest = shard.nodes.find(shard.idle.front().node);
        shard.idle.erase(shard.idle.begin());
        --idle_;
        if (eldest != shard.nodes.end()) close_backing(eldest->second);
    }
    shard.idle.push_back({node, Clock::now()});
    return idle_++ == 0;
}

void OpenFiles::take_from_idle(Shard& shard, std::uint64_t node) {
    const auto found = std::ranges::find(shard.idle, node, &Idle::node);
    if (found == shard.idle.end()) return;
    shard.idle.erase(found);
    --idle_;
}

void OpenFiles::forget(std::uint64_t node) {
    Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    if (found == shard.nodes.end() || found->second.opens > 0) return;
    take_from_idle(shard, node);
    close_backing(found->second);
    shard.nodes.erase(found);
}

bool OpenFiles::close_idle(Clock::time_point since) {
    for (Shard& shard : shards_) {
        const Lock lock(shard.mutex);
        while (!shard.idle.empty() && shard.idle.front().since < since) {
            const auto found = shard.nodes.find(shard.idle.front().node);
            shard.idle.erase(shard.idle.begin());
            --idle_;
            if (found != shard.nodes.end()) close_backing(found->second);
        }
    }
    return idle_ > 0;
}

bool OpenFiles::passes(std::uint64_t node) const {
    const Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    return found != shard.nodes.end() && found->second.opens > 0 &&
           found->second.mode == IoMode::Passthrough;
}

UnseenWrites OpenFiles::unseen_writes(std::uint64_t node) const {
    const Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    if (found == shard.nodes.end() || !found->second.mapped) return UnseenWrites::None;
    return found->second.mappers > 0 ? UnseenWrites::Open : UnseenWrites::Possible;
}

OpenFilesCounts OpenFiles::counts() const {
    return {.backings = backings_,
            .idle_backings = idle_,
            .registrations = registrations_,
            .rebound = rebound_,
            .passthrough_opens = passthrough_opens_,
            .cached_opens = cached_opens_,
            .direct_opens = direct_opens_,
            .kept_pages = kept_pages_,
            .refused = refusals_,
            .refused_by = refusals_by_.counts()};
}

}  // namespace plyfs::passthrough
