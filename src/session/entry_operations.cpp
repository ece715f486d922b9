// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/entry_operations.h"

#include "session/reply.h"

namespace plyfs::session {

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    serve(request, [&](Context& context) {
        with_name(request, name, [&](Name valid) {
            const Result<Entry> entry = context.united.lookup(parent, valid);
            if (!entry) context.united.moved_on(fuse_req_ctx(request)->pid);
            if (!entry && entry.error() == ENOENT && context.negative_timeout > 0) {
                // Node 0: the kernel may remember that there is nothing (FUSE_LOOKUP).
                fuse_entry_param nothing{};
                nothing.entry_timeout = context.negative_timeout;
                fuse_reply_entry(request, &nothing);
                return;
            }
            // Whoever walks a tree asks for directories, whatever it wants of the names in them.
            if (entry && !S_ISDIR(entry->attributes.mode)) {
                context.listers.asked(fuse_req_ctx(request)->pid);
            }
            reply_entry(request, entry);
        });
    });
}

void forget(fuse_req_t request, fuse_ino_t node, std::uint64_t count) {
    context_of(request).united.forget(node, count);
    fuse_reply_none(request);
}

void forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets) {
    Union& united = context_of(request).united;
    for (std::size_t index = 0; index < count; ++index) {
        united.forget(forgets[index].ino, forgets[index].nlookup);
    }
    fuse_reply_none(request);
}

void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
    serve(request, [&](Context& context) {
        with_name(request, name, [&](Name valid) {
            reply_entry(request, context.united.mknod(Asked(request), parent, valid, mode, device));
        });
    });
}

void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
    serve(request, [&](Context& context) {
        with_name(request, name, [&](Name valid) {
            reply_entry(request, context.united.mkdir(Asked(request), parent, valid, mode));
        });
    });
}

void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
    serve(request, [&](Context& context) {
        with_name(request, name, [&](Name valid) {
            reply_entry(request, context.united.symlink(Asked(request), parent, valid, target));
        });
    });
}

void link(fuse_req_t request, fuse_ino_t node, fuse_ino_t new_parent, const char* new_name) {
    serve(request, [&](Context& context) {
        with_name(request, new_name, [&](Name valid) {
            reply_entry(request, context.united.link(Asked(request), node, new_parent, valid));
        });
    });
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
    serve(request, [&](Context& context) {
        with_name(request, name, [&](Name valid) {
            reply_status(request, context.united.unlink(Asked(request), parent, valid));
        });
    });
}

void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
    serve(request, [&](Context& context) {
        with_name(request, name, [&](Name valid) {
            reply_status(request, context.united.rmdir(Asked(request), parent, valid));
        });
    });
}

void rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
    serve(request, [&](Context& context) {
        with_name(request, name, [&](Name from) {
            with_name(request, new_name, [&](Name to) {
                reply_status(request, context.united.rename(Asked(request), parent, from,
                                                            new_parent, to, flags));
            });
        });
    });
}

void readlink(fuse_req_t request, fuse_ino_t node) {
    serve(request, [&](Context& context) {
        const Result<std::string> target = context.united.readlink(node);
        if (!target) return reply_error(request, target.error());
        fuse_reply_readlink(request, target->c_str());
    });
}

}  // namespace plyfs::session
