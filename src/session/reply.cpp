// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/reply.h"

#include <sys/stat.h>

#include <algorithm>

namespace plyfs::session {
namespace {

timespec to_timespec(const Timestamp& time) {
    return {time.seconds, static_cast<long>(time.nanoseconds)};
}

sys::Caller caller_of(fuse_req_t request) {
    const fuse_ctx* const context = fuse_req_ctx(request);
    return {context->uid, context->gid, context->umask, current_extras().supplementary_group};
}

}  // namespace

struct stat to_stat(const Attributes& attributes) {
    struct stat result{};
    result.st_ino = attributes.inode;
    result.st_mode = attributes.mode;
    result.st_nlink = attributes.links;
    result.st_uid = attributes.uid;
    result.st_gid = attributes.gid;
    result.st_rdev = attributes.device_number;
    result.st_size = static_cast<off_t>(attributes.size);
    result.st_blocks = static_cast<blkcnt_t>(attributes.blocks);
    result.st_blksize = static_cast<blksize_t>(attributes.block_size);
    result.st_atim = to_timespec(attributes.access_time);
    result.st_mtim = to_timespec(attributes.modification_time);
    result.st_ctim = to_timespec(attributes.change_time);
    return result;
}

double attribute_timeout(const Context& context, NodeId node) {
    // As long as a mapping may be written, after its descriptor was closed: not longer than this.
    constexpr double kUnseen = 1;
    // Its permissions change by another node.
    if (context.united.superseded(node)) return 0;
    switch (context.open_files.unseen_writes(node)) {
        case passthrough::UnseenWrites::Open: return 0;
        case passthrough::UnseenWrites::Possible:
            return std::min(kUnseen, context.attribute_timeout);
        case passthrough::UnseenWrites::None: break;
    }
    return context.attribute_timeout;
}

fuse_entry_param to_entry(const Context& context, const Entry& entry) {
    fuse_entry_param result{};
    result.ino = entry.node;
    result.generation = context.generation;
    result.attr = to_stat(entry.attributes);
    result.attr_timeout = attribute_timeout(context, entry.node);
    result.entry_timeout = context.entry_timeout;
    return result;
}

void reply_entry(fuse_req_t request, const Result<Entry>& entry) {
    if (!entry) return reply_error(request, entry.error());
    Context& context = context_of(request);
    const fuse_entry_param parameter = to_entry(context, *entry);
    if (fuse_reply_entry(request, &parameter) != 0) context.united.forget(entry->node, 1);
}

void reply_status(fuse_req_t request, const Result<void>& result) {
    if (!result) return reply_error(request, result.error());
    fuse_reply_err(request, 0);
}

void reply_error(fuse_req_t request, Errno error) {
    note_error();
    fuse_reply_err(request, error.code());
}

void reply_parted(fuse_req_t request, const Context& context, NodeId node, Errno error) {
    if (error == ESTALE || error == ETXTBSY) invalidate_attributes(context, node);
    reply_error(request, error);
}

void invalidate_attributes(const Context& context, NodeId node) {
    if (context.attribute_timeout <= 0) return;
    // A negative offset: attributes only, no pages (FUSE_NOTIFY_INVAL_INODE).
    fuse_lowlevel_notify_inval_inode(context.session, node, -1, 0);
}

Asked::Asked(fuse_req_t request)
    : request_{caller_of(request), journal_,
               [request] { return fuse_req_interrupted(request) != 0; },
               fuse_req_ctx(request)->pid} {}

}  // namespace plyfs::session
