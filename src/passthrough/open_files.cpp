// SPDX-License-Identifier: GPL-2.0-or-later
#include "passthrough/open_files.h"

#include <utility>

namespace plyfs::passthrough {

OpenFiles::OpenFiles(Registrar& registrar, std::function<void(Errno)> refused)
    : registrar_(registrar), refused_(std::move(refused)) {}

OpenFiles::~OpenFiles() {
    for (Shard& shard : shards_) {
        const Lock lock(shard.mutex);
        for (const auto& [node, opened] : shard.nodes) {
            if (opened.backing_id > 0) registrar_.close_backing(opened.backing_id);
        }
    }
}

Result<Attachment> OpenFiles::attach(std::uint64_t node, const RealId& real, int descriptor,
                                     bool writable, bool wanted) {
    std::optional<Errno> refusal;
    auto attached = attach_locked(node, real, descriptor, writable, wanted, refusal);
    if (refusal && refused_) refused_(*refusal);
    return attached;
}

Result<Attachment> OpenFiles::attach_locked(std::uint64_t node, const RealId& real, int descriptor,
                                            bool writable, bool wanted,
                                            std::optional<Errno>& refusal) {
    Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    std::optional<OpenState> state;
    if (found != shard.nodes.end()) state = found->second.state;
    Opened opened{{IoMode::Cached, real}, 0, 0, 0};
    switch (decide(state, real, wanted)) {
        case Decision::Stale: return fail(ESTALE);
        case Decision::Register: {
            const auto backing = registrar_.open_backing(descriptor);
            if (backing) {
                opened.state.mode = IoMode::Passthrough;
                opened.backing_id = *backing;
                ++backings_;
            } else {
                ++refusals_;
                refusal = backing.error();
            }
            break;
        }
        case Decision::Share:
        case Decision::Cached: break;
    }
    Opened& now = shard.nodes.try_emplace(node, opened).first->second;
    ++now.opens;
    if (writable) ++now.writers;
    ++(now.state.mode == IoMode::Passthrough ? passthrough_opens_ : cached_opens_);
    const bool passes = now.state.mode == IoMode::Passthrough;
    return Attachment{now.state.mode, now.backing_id, passes && writable && now.writers == 1};
}

void OpenFiles::detach(std::uint64_t node, bool writable) {
    Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    if (found == shard.nodes.end()) return;
    Opened& opened = found->second;
    if (writable) --opened.writers;
    if (--opened.opens > 0) return;
    if (opened.backing_id > 0) {
        registrar_.close_backing(opened.backing_id);
        --backings_;
    }
    shard.nodes.erase(found);
}

bool OpenFiles::written_unseen(std::uint64_t node) const {
    const Shard& shard = this->shard(node);
    const Lock lock(shard.mutex);
    const auto found = shard.nodes.find(node);
    return found != shard.nodes.end() && found->second.writers > 0 &&
           found->second.state.mode == IoMode::Passthrough;
}

OpenFilesCounts OpenFiles::counts() const {
    return {backings_, passthrough_opens_, cached_opens_, refusals_};
}

}  // namespace plyfs::passthrough
