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
    registrar_.close_backing(opened.backing_id);
    forget_backing(opened);
}

void OpenFiles::forget_backing(Opened& opened) {
    if (std::exchange(opened.attached, false)) --attached_;
    opened.backing_id = 0;
    --backings_;
}

bool OpenFiles::take_back(Opened& opened) {
    if (registrar_.close_backing(opened.backing_id) > 0) {
        ++taken_open_;
        return true;
    }
    ++taken_back_;
    forget_backing(opened);
    return false;
}

std::optional<OpenState> OpenFiles::state_of(const Opened& opened) {
    if (opened.opens == 0 && !opened.attached) return std::nullopt;
    return OpenState{opened.mode, opened.real, opened.follows};
}

std::optional<OpenState> OpenFiles::ask_state(const Opening& opening, Opened& opened) {
    if (!opened.attached) return state_of(opened);
    const bool same = opened.real == opening.real;
    if (same && opening.wanted != IoMode::Direct) {
        // Bound to what it is bound to, the id is shared; or the kernel does not have it.
        const auto bound = registrar_.rebind_backing(opened.backing_id, opening.descriptor);
        if (!bound && bound.error() == ENOENT) {
            forget_backing(opened);
            return std::nullopt;
        }
    } else if (opened.opens == 0 && (same || !opened.follows)) {
        take_back(opened);
    }
    return state_of(opened);
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
    if (opening.handle_only) {
        ++opened.opens;
        return Attachment{};
    }
    auto state = ask_state(opening, opened);
    auto decision = decide(state, opened.passed, opening.real, opening.wanted, opening.passable,
                           opening.copied);
    if (decision == Decision::Move && !TRY(move(opening, opened))) {
        state.reset();
        decision = decide(state, opened.passed, opening.real, opening.wanted, opening.passable);
    }
    IoMode mode = IoMode::Cached;
    switch (decision) {
        case Decision::Stale: return fail(ESTALE);
        case Decision::Busy: return fail(ETXTBSY);
        case Decision::Register: mode = register_backing(shard, opening, opened, refusal); break;
        case Decision::Share:
            TRY(share_backing(shard, opening, opened, refusal));
            mode = IoMode::Passthrough;
            break;
        case Decision::Move:
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

Result<void> OpenFiles::share_backing(Shard& shard, const Opening& opening, Opened& opened,
                                      std::optional<Errno>& refusal) {
    if (opened.backing_id != 0 || opened.inherited) return {};
    Opening own = opening;
    own.may_attach = false;
    // What is open leaves no other way to open it.
    if (register_backing(shard, own, opened, refusal) != IoMode::Passthrough) return fail(ETXTBSY);
    return {};
}

IoMode OpenFiles::register_backing(Shard& shard, const Opening& opening, Opened& opened,
                                   std::optional<Errno>& refusal) {
    if (opened.backing_id != 0) {
        take_from_idle(shard, opening.node);
        if (opened.real == opening.real && !opening.may_attach) return IoMode::Passthrough;
        close_backing(opened);
    }
    const auto use = opening.may_attach                         ? BackingUse::Attached
                     : opened.registrations >= kOftenRegistered ? BackingUse::Lasting
                                                                : BackingUse::WhileOpen;
    const auto backing = registrar_.open_backing(opening.descriptor, use);
    if (!backing) {
        ++refusals_;
        refusal = backing.error();
        return opened.passed || opening.shared_file ? IoMode::Direct : IoMode::Cached;
    }
    opened.backing_id = *backing;
    opened.real = opening.real;
    opened.follows = opening.follows;
    opened.registrations = std::min<std::uint8_t>(opened.registrations + 1, kOftenRegistered + 1);
    if (opening.may_attach) {
        opened.attached = true;
        opened.attached_since = Clock::now();
        if (shard.attached.size() >= shard.prune_at) prune_attached(shard);
        shard.attached.push_back({opening.node, opened.attached_since});
        ++attached_;
    }
    ++backings_;
    ++registrations_;
    return IoMode::Passthrough;
}

Result<bool> OpenFiles::move(const Opening& opening, Opened& opened) {
    const auto moved = registrar_.rebind_backing(opened.backing_id, opening.descriptor);
    if (!moved && opened.attached && moved.error() == ENOENT) {
        forget_backing(opened);
        return false;
    }
    TRY(moved);
    opened.real = opening.real;
    opened.follows = false;
    ++rebound_;
    return true;
}

Result<void> OpenFiles::follow(const Opening& opening) {
    Shard& shard = this->shard(opening.node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(opening.node);
    if (found == shard.nodes.end()) return {};
    Opened& opened = found->second;
    const auto state = state_of(opened);
    if (decide(state, opened.passed, opening.real, IoMode::Passthrough, true, opening.copied) ==
        Decision::Move) {
        const auto moved = move(opening, opened);
        if (!moved) return fail(moved.error());
    }
    return {};
}

bool OpenFiles::detach(std::uint64_t node, bool may_map) {
    Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    if (found == shard.nodes.end() || found->second.opens == 0) return false;
    Opened& opened = found->second;
    if (may_map) --opened.mappers;
    opened.inherited = false;
    if (--opened.opens > 0) return false;
    if (opened.attached) return true;
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

bool OpenFiles::close_idle(Clock::time_point since, Clock::time_point attached_since) {
    for (Shard& shard : shards_) {
        const Lock lock(shard.mutex);
        take_back_attached(shard, attached_since);
        while (!shard.idle.empty() && shard.idle.front().since < since) {
            const auto found = shard.nodes.find(shard.idle.front().node);
            shard.idle.erase(shard.idle.begin());
            --idle_;
            if (found != shard.nodes.end()) close_backing(found->second);
        }
    }
    return idle_ > 0 || attached_ > 0;
}

void OpenFiles::take_back_attached(Shard& shard, Clock::time_point since) {
    for (auto left = shard.attached.size(); left > 0 && shard.attached.front().since < since;
         --left) {
        const Idle eldest = shard.attached.front();
        shard.attached.pop_front();
        Opened* const opened = find_attached(shard, eldest);
        if (opened == nullptr) continue;
        // While it is open the file would not be free anyway, and others share the id.
        if (opened->opens == 0 && !take_back(*opened)) continue;
        opened->attached_since = Clock::now();
        shard.attached.push_back({eldest.node, opened->attached_since});
    }
}

OpenFiles::Opened* OpenFiles::find_attached(Shard& shard, const Idle& queued) {
    const auto found = shard.nodes.find(queued.node);
    if (found == shard.nodes.end()) return nullptr;
    Opened& opened = found->second;
    return opened.attached && opened.attached_since == queued.since ? &opened : nullptr;
}

void OpenFiles::prune_attached(Shard& shard) {
    std::deque<Idle> left;
    for (const Idle& queued : shard.attached) {
        if (find_attached(shard, queued) != nullptr) left.push_back(queued);
    }
    shard.attached = std::move(left);
    shard.prune_at = std::max(kLeastPruned, 2 * shard.attached.size());
}

void OpenFiles::save(const std::function<void(const SavedOpened&)>& visit) const {
    for (const Shard& shard : shards_) {
        const Lock lock(shard.mutex);
        for (const auto& [node, opened] : shard.nodes) {
            visit({.node = node,
                   .mode = opened.mode,
                   .backing_id = opened.backing_id,
                   .real = opened.real,
                   .follows = opened.follows,
                   .opens = opened.opens,
                   .mappers = opened.mappers,
                   .passed = opened.passed,
                   .mapped = opened.mapped,
                   .attached = opened.attached,
                   .inherited = opened.inherited});
        }
    }
}

void OpenFiles::leave() {
    for (Shard& shard : shards_) {
        const Lock lock(shard.mutex);
        shard.nodes.clear();
        shard.idle.clear();
        shard.attached.clear();
    }
}

void OpenFiles::restore(const SavedOpened& saved) {
    Shard& shard = this->shard(saved.node);
    const Lock lock(shard.mutex);
    Opened& opened = shard.nodes[saved.node];
    opened.mode = saved.mode;
    opened.backing_id = saved.backing_id;
    opened.real = saved.real;
    opened.follows = saved.follows;
    opened.opens = saved.opens;
    opened.mappers = saved.mappers;
    opened.passed = saved.passed;
    opened.mapped = saved.mapped;
    opened.attached = saved.attached;
    opened.inherited = saved.inherited;
    if (saved.backing_id != 0) {
        opened.registrations = 1;
        ++backings_;
    }
    if (!saved.attached) return;
    opened.attached_since = Clock::now();
    shard.attached.push_back({saved.node, opened.attached_since});
    ++attached_;
}

void OpenFiles::close_inherited() {
    for (Shard& shard : shards_) {
        const Lock lock(shard.mutex);
        for (auto& [node, opened] : shard.nodes) {
            const bool passes = opened.opens > 0 && opened.mode == IoMode::Passthrough;
            if (!passes || opened.follows || opened.attached || opened.backing_id == 0) continue;
            close_backing(opened);
            opened.inherited = true;
        }
    }
}

bool OpenFiles::passes(std::uint64_t node) const {
    const Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    return found != shard.nodes.end() && found->second.opens > 0 &&
           found->second.mode == IoMode::Passthrough;
}

bool OpenFiles::may_pass(std::uint64_t node) const {
    const Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    if (found == shard.nodes.end()) return false;
    const auto state = state_of(found->second);
    return state && state->mode == IoMode::Passthrough;
}

UnseenWrites OpenFiles::unseen_writes(std::uint64_t node) const {
    const Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    if (found == shard.nodes.end() || !found->second.mapped) return UnseenWrites::None;
    return found->second.mappers > 0 ? UnseenWrites::Open : UnseenWrites::Possible;
}

OpenFilesCounts OpenFiles::counts() const {
    std::uint64_t queued = 0;
    for (const Shard& shard : shards_) {
        const Lock lock(shard.mutex);
        queued += shard.attached.size();
    }
    return {.backings = backings_,
            .idle_backings = idle_,
            .attached = attached_,
            .queued = queued,
            .taken_back = taken_back_,
            .taken_open = taken_open_,
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
