// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/file_operations.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "session/reply.h"
#include "sys/data.h"
#include "sys/open.h"

namespace plyfs::session {
namespace {

// FOPEN_PASSTHROUGH of <linux/fuse.h> since 6.9.
constexpr std::uint32_t kOpenPassthrough = 1U << 7;

// Its readers follow a copy-up, and may be passed through all the same: the kernel moves them.
bool follows(const Context& context, const FileHandle& file) {
    return context.rebinds && !context.united.branches()[file.branch]->writable() &&
           !file.snapshot && context.united.writable();
}

// The kernel may go on opening the file for reading by itself: no copy can be made that it would
// not be moved to, and nobody has to be told of its locks.
bool may_attach(const Context& context, const FileHandle& file) {
    return context.attaches && context.options.passthrough.attach.count() > 0 && !file.writes() &&
           context.options.locks == config::LockScope::Local &&
           (context.united.branches()[file.branch]->writable() || follows(context, file) ||
            !context.united.writable());
}

// Why the data of `opened` should not be passed through; none: they should.
std::optional<passthrough::Refusal> objection(const Context& context, const OpenedFile& opened) {
    using passthrough::Refusal;
    const FileHandle& file = *opened.file;
    // The kernel does not know that the file is append-only: in passthrough, a mapping or fcntl(2)
    // (F_SETFL without O_APPEND) would change what is there.
    if ((opened.attributes.flags & STATX_ATTR_APPEND) != 0) return Refusal::AppendOnly;
    if (!context.passthrough) return Refusal::Off;
    // A reader that is to follow a copy-up can't be bound to what it reads now.
    const Branch& branch = *context.united.branches()[file.branch];
    if (!branch.writable() && !file.snapshot && context.united.writable() && !context.rebinds) {
        return Refusal::Followed;
    }
    const bool small = opened.attributes.size < context.options.passthrough.small_files;
    if (small && !file.writes()) return Refusal::Small;
    return std::nullopt;
}

// Somebody who had an append-only file open when it became that, as chattr(1) itself, may have
// closed it just now. Waits for a moment until the kernel has told of it.
void wait_for_close(const Context& context, NodeId node) {
    for (int tries = 0; tries < 5 && context.open_files.passes(node); ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

// Decides how the data of `opened` goes and says so in `info`. `known`: the kernel knows the file
// from before. True: by the backing that the inode has, which `info` can't say.
Result<bool> attach(Context& context, const OpenedFile& opened, bool known, fuse_file_info& info) {
    const FileHandle& file = *opened.file;
    passthrough::Opening opening;
    opening.node = file.node->id;
    opening.real = file.real;
    opening.descriptor = file.descriptor.get();
    opening.writes = file.writes();
    opening.may_map = file.may_map();
    opening.follows = follows(context, file);
    opening.copied = context.united.branches()[file.branch]->writable();
    if (const auto why = objection(context, opened)) {
        // Past the page cache nothing can be mapped shared, and what is written is appended.
        const bool append_only = *why == passthrough::Refusal::AppendOnly;
        const bool direct = append_only && opening.writes;
        if (append_only) wait_for_close(context, opening.node);
        opening.wanted = direct ? passthrough::IoMode::Direct : passthrough::IoMode::Cached;
        opening.passable = !append_only;
        opening.why = *why;
    } else {
        opening.wanted = passthrough::IoMode::Passthrough;
        opening.may_attach = may_attach(context, file);
    }
    opening.handle_only = known && current_extras().handle_only;
    if (context.united.is_settled(opened.attributes, file.branch)) {
        opening.version = passthrough::Version(opened.attributes);
    }
    opening.shared_file = opened.shared_file;
    const auto attachment = TRY(context.open_files.attach(opening));
    info.fh = opened.handle;
    info.keep_cache = attachment.keep_pages;
    info.direct_io = attachment.mode == passthrough::IoMode::Direct;
    if (known && attachment.first_unseen_writer) {
        // What the kernel was told of the size and times before it was opened for writing.
        invalidate_attributes(context, file.node->id);
    }
    if (attachment.mode == passthrough::IoMode::Passthrough) {
        info.backing_id = attachment.backing_id;
        info.parallel_direct_writes = context.parallel_writes;
    }
    // Nothing is done at close(2) that its answer could tell of; under `locks: branch` FLUSH is
    // what drops the owner's POSIX locks.
    info.noflush = context.options.locks == config::LockScope::Local;
    return attachment.mode == passthrough::IoMode::Passthrough && attachment.backing_id == 0;
}

void undo_open(Context& context, const OpenedFile& opened) {
    if (context.open_files.detach(opened.file->node->id, opened.file->may_map())) {
        context.housekeeper.backing_idle();
    }
    context.united.release(opened.handle);
}

void reply_created(fuse_req_t request, Context& context, Result<CreatedFile> created,
                   fuse_file_info* info) {
    if (!created) return reply_error(request, created.error());
    const auto attached = attach(context, created->opened, false, *info);
    if (!attached) {
        context.united.release(created->opened.handle);
        context.united.forget(created->entry.node, 1);
        return reply_error(request, attached.error());
    }
    const fuse_entry_param entry = to_entry(context, created->entry);
    if (fuse_reply_create(request, &entry, info) == 0) return;
    undo_open(context, created->opened);
    context.united.forget(created->entry.node, 1);
}

// What the data of `file` is read from, or null after the error was answered.
std::shared_ptr<const UniqueFd> data_of(fuse_req_t request, Context& context,
                                        const std::shared_ptr<const FileHandle>& file) {
    auto data = context.united.data_of(file);
    if (data) return *std::move(data);
    reply_error(request, data.error());
    return nullptr;
}

// What an open asks of the branch: on volatile ones nothing waits for the disk.
int branch_flags(const Context& context, const fuse_file_info& info) {
    constexpr int kWait = O_SYNC | O_DSYNC;
    return context.options.is_volatile ? info.flags & ~kWait : info.flags;
}

// The open file of `info`, or null after EBADF was answered.
std::shared_ptr<const FileHandle> file_of(fuse_req_t request, Context& context,
                                          const fuse_file_info* info) {
    auto file = context.united.file(info->fh);
    if (!file) fuse_reply_err(request, EBADF);
    return file;
}

// By root and by who mounted it.
void ask_restart(fuse_req_t request, Context& context) {
    const uid_t asking = fuse_req_ctx(request)->uid;
    if (asking != 0 && asking != ::geteuid()) return reply_error(request, Errno(EPERM));
    context.restarts.ask();
    fuse_reply_ioctl(request, 0, nullptr, 0);
}

// libfuse knows no open in passthrough without a backing id.
int reply_reusing(fuse_req_t request, const fuse_file_info& info) {
    fuse_open_out answer{};
    answer.fh = info.fh;
    answer.open_flags = kOpenPassthrough;
    if (info.noflush != 0) answer.open_flags |= FOPEN_NOFLUSH;
    if (info.parallel_direct_writes != 0) answer.open_flags |= FOPEN_PARALLEL_DIRECT_WRITES;
    return fuse_reply_buf(request, reinterpret_cast<const char*>(&answer), sizeof answer);
}

}  // namespace

Result<void> follow_copy(fuse_req_t request, Context& context, fuse_ino_t node) {
    if (!context.rebinds || !context.open_files.may_pass(node)) return {};
    const OpenedFile opened = TRY(context.united.open(Asked(request), node, O_RDONLY, false));
    const FileHandle& file = *opened.file;
    passthrough::Opening opening;
    opening.node = file.node->id;
    opening.real = file.real;
    opening.descriptor = file.descriptor.get();
    opening.copied = context.united.branches()[file.branch]->writable();
    const auto moved = context.open_files.follow(opening);
    context.united.release(opened.handle);
    return moved;
}

void open(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
    serve(request, [&](Context& context) {
        constexpr int kTries = 3;
        for (int tries = 1;; ++tries) {
            const auto opened = context.united.open(
                Asked(request), node, branch_flags(context, *info), current_extras().kill_set_id);
            if (!opened) return reply_parted(request, context, node, opened.error());
            const auto attached = attach(context, *opened, true, *info);
            if (attached) {
                const int sent =
                    *attached ? reply_reusing(request, *info) : fuse_reply_open(request, info);
                if (sent != 0) undo_open(context, *opened);
                return;
            }
            context.united.release(opened->handle);
            // It was copied up since, and its readers moved: the next try finds the copy.
            const bool moved = attached.error() == ESTALE && follows(context, *opened->file);
            if (moved && tries < kTries) continue;
            const Errno refusal = attached.error() == ETXTBSY
                                      ? context.united.part(Asked(request), node)
                                      : attached.error();
            return reply_parted(request, context, node, refusal);
        }
    });
}

void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* info) {
    serve(request, [&](Context& context) {
        with_name(request, name, [&](Name valid) {
            reply_created(request, context,
                          context.united.create(Asked(request), parent, valid, mode,
                                                branch_flags(context, *info)),
                          info);
        });
    });
}

void tmpfile(fuse_req_t request, fuse_ino_t parent, mode_t mode, fuse_file_info* info) {
    serve(request, [&](Context& context) {
        reply_created(
            request, context,
            context.united.tmpfile(Asked(request), parent, mode, branch_flags(context, *info)),
            info);
    });
}

void release(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* info) {
    serve(request, [&](Context& context) {
        if (const auto file = context.united.file(info->fh)) {
            // close(2) alone would leave it to the last open: the file that is registered for all
            // of them is the one of the first.
            if (info->flock_release != 0) (void)sys::lock_whole(file->descriptor.get(), LOCK_UN);
            undo_open(context, {info->fh, file, {}});
        }
        fuse_reply_err(request, 0);
    });
}

void read(fuse_req_t request, fuse_ino_t /*node*/, std::size_t size, off_t offset,
          fuse_file_info* info) {
    serve(request, [&](Context& context) {
        const auto file = file_of(request, context, info);
        if (!file) return;
        const auto data = data_of(request, context, file);
        if (!data) return;
        std::vector<std::byte> bytes(size);
        const auto filled = sys::read_at(data->get(), bytes, offset);
        if (!filled) return reply_error(request, filled.error());
        fuse_reply_buf(request, reinterpret_cast<const char*>(bytes.data()), *filled);
    });
}

void write(fuse_req_t request, fuse_ino_t /*node*/, const char* bytes, std::size_t size,
           off_t offset, fuse_file_info* info) {
    serve(request, [&](Context& context) {
        const auto file = file_of(request, context, info);
        if (!file) return;
        const auto written =
            sys::write_at(file->descriptor.get(), std::as_bytes(std::span(bytes, size)), offset);
        if (!written) return reply_error(request, written.error());
        fuse_reply_write(request, *written);
    });
}

void fsync(fuse_req_t request, fuse_ino_t /*node*/, int data_only, fuse_file_info* info) {
    serve(request, [&](Context& context) {
        const auto file = file_of(request, context, info);
        if (!file) return;
        const auto data = data_of(request, context, file);
        if (!data) return;
        reply_status(request, sys::synchronize(data->get(), data_only != 0));
    });
}

void fallocate(fuse_req_t request, fuse_ino_t /*node*/, int mode, off_t offset, off_t length,
               fuse_file_info* info) {
    serve(request, [&](Context& context) {
        const auto file = file_of(request, context, info);
        if (!file) return;
        if (const auto allowed = context.united.check_allocate(*file, mode); !allowed) {
            return reply_error(request, allowed.error());
        }
        reply_status(request, sys::allocate(file->descriptor.get(), mode, offset, length));
    });
}

void copy_file_range(fuse_req_t request, fuse_ino_t /*node*/, off_t offset, fuse_file_info* info,
                     fuse_ino_t /*target_node*/, off_t target_offset, fuse_file_info* target_info,
                     std::size_t length, int /*flags*/) {
    serve(request, [&](Context& context) {
        const auto source = file_of(request, context, info);
        if (!source) return;
        const auto target = file_of(request, context, target_info);
        if (!target) return;
        const auto data = data_of(request, context, source);
        if (!data) return;
        const auto copied =
            sys::copy_range(data->get(), offset, target->descriptor.get(), target_offset, length);
        if (!copied) return reply_error(request, copied.error());
        fuse_reply_write(request, *copied);
    });
}

void lseek(fuse_req_t request, fuse_ino_t /*node*/, off_t offset, int whence,
           fuse_file_info* info) {
    serve(request, [&](Context& context) {
        const auto file = file_of(request, context, info);
        if (!file) return;
        const auto data = data_of(request, context, file);
        if (!data) return;
        const auto position = sys::seek(data->get(), offset, whence);
        if (!position) return reply_error(request, position.error());
        fuse_reply_lseek(request, *position);
    });
}

void ioctl(fuse_req_t request, fuse_ino_t node, unsigned command, void* /*argument*/,
           fuse_file_info* info, unsigned flags, const void* in, std::size_t in_size,
           std::size_t out_size) {
    serve(request, [&](Context& context) {
        if (command == kRestartCommand && node == kRootNode) return ask_restart(request, context);
        const bool extended = command == FS_IOC_FSGETXATTR || command == FS_IOC_FSSETXATTR;
        const bool changes = command == FS_IOC_SETFLAGS || command == FS_IOC_FSSETXATTR;
        if (!extended && !changes && command != FS_IOC_GETFLAGS) {
            return reply_error(request, Errno(ENOTTY));
        }
        const bool directory = (flags & FUSE_IOCTL_DIR) != 0;
        const HandleId handle = directory ? 0 : info->fh;
        const auto form = extended ? InodeFlags::Form::Extended : InodeFlags::Form::Word;
        std::array<std::byte, 64> out{};
        const auto answer = [&]() -> Result<void> {
            if (!directory && !context.united.file(handle)) return fail(EBADF);
            if (changes) {
                InodeFlags wanted(form);
                if (in_size < wanted.bytes().size()) return fail(EINVAL);
                std::memcpy(wanted.bytes().data(), in, wanted.bytes().size());
                return context.united.set_inode_flags(Asked(request), node, handle, wanted);
            }
            const InodeFlags found = TRY(context.united.inode_flags(node, handle, form));
            if (out_size > out.size() || out_size < found.bytes().size()) return fail(EINVAL);
            std::ranges::copy(found.bytes(), out.begin());
            return {};
        }();
        if (!answer) return reply_error(request, answer.error());
        fuse_reply_ioctl(request, 0, out.data(), changes ? 0 : out_size);
    });
}

}  // namespace plyfs::session
