// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the union's values to libfuse's, and the barrier around each operation.
#pragma once

#include <exception>
#include <new>

#include "session/context.h"

namespace plyfs::session {

struct stat to_stat(const Attributes& attributes);

// Seconds for which the kernel may answer from what it was told of `node`.
double attribute_timeout(const Context& context, NodeId node);

fuse_entry_param to_entry(const Context& context, const Entry& entry);

// Sends the entry; where the kernel no longer wants it (ENOENT: the caller was killed) gives the
// lookup back.
void reply_entry(fuse_req_t request, const Result<Entry>& entry);

void reply_status(fuse_req_t request, const Result<void>& result);
void reply_error(fuse_req_t request, Errno error);
// The same of a verb by which `node` may have got a successor (Union::open, setattr). The kernel
// goes by the permissions that it was told of while names no longer lead to the node.
void reply_parted(fuse_req_t request, const Context& context, NodeId node, Errno error);

// The kernel asks for the attributes of `node` before it uses them again.
void invalidate_attributes(const Context& context, NodeId node);

// Runs one operation: exceptions of libraries end here and become the answer.
template <typename Operation>
void serve(fuse_req_t request, Operation&& operation) noexcept {
    try {
        operation(context_of(request));
    } catch (const std::bad_alloc&) {
        reply_error(request, Errno(ENOMEM));
    } catch (const std::exception&) {
        reply_error(request, Errno(EIO));
    }
}

// Who asked, for a verb that changes something, and the journal of the request.
class Asked {
public:
    explicit Asked(fuse_req_t request);
    operator const Request&() const noexcept { return request_; }

private:
    NullJournal journal_;
    Request request_;
};

// Calls `verb(name)` with the validated name, or answers why it is none.
template <typename Verb>
void with_name(fuse_req_t request, const char* text, Verb&& verb) {
    const auto name = Name::from(text);
    if (name) {
        verb(*name);
    } else {
        reply_error(request, name.error());
    }
}

}  // namespace plyfs::session
