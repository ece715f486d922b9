// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/handover.h"

#include <fmt/core.h>

#include <chrono>
#include <exception>
#include <thread>

#include "session/saved_records.h"

namespace plyfs::session {
namespace {

// How long the requests that are being served may take to end before a restart is given up.
constexpr std::chrono::seconds kStopPatience{5};
// The same of copies that are being made, before that: requests are served meanwhile.
constexpr std::chrono::seconds kCopyPatience{20};

}  // namespace

std::expected<void, std::string> Handover::check_possible() const {
    if (is_ending_()) return std::unexpected("it is being unmounted");
    // The kernel knows the rings of a process as its own.
    if (served_.context.rings) return std::unexpected("not possible with io_uring");
    if (served_.context.waiters.size() > 0) {
        return std::unexpected("somebody waits for a lock of a file in it (locks: branch)");
    }
    return {};
}

std::expected<void, std::string> Handover::wait_for_copies() const {
    const auto until = std::chrono::steady_clock::now() + kCopyPatience;
    while (served_.context.united.counts().copy_ups.running > 0) {
        if (std::chrono::steady_clock::now() > until) {
            return std::unexpected("files are being copied up; try again later");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return {};
}

std::expected<pid_t, std::string> Handover::run(DeviceLoop& loop) {
    if (auto possible = check_possible(); !possible) return std::unexpected(possible.error());
    auto successor = Successor::start();
    if (!successor) return std::unexpected(successor.error());
    return run(loop, *successor);
}

std::expected<pid_t, std::string> Handover::run(DeviceLoop& loop, Successor& successor) {
    const Context& context = served_.context;
    if (auto prepared = successor.prepare(context.options, served_.text, context.united.branches());
        !prepared) {
        return std::unexpected(prepared.error());
    }
    if (auto copied = wait_for_copies(); !copied) return std::unexpected(copied.error());
    constexpr auto kBusy = "requests that take long are being served; try again later";
    // What it has to tell the kernel may wait for somebody who waits for an answer.
    if (!context.housekeeper.pause(kStopPatience)) return std::unexpected(kBusy);
    std::expected<pid_t, std::string> given = std::unexpected(kBusy);
    const bool stopped = loop.stop(kStopPatience);
    if (stopped) given = give(successor);
    if (given) return given;
    successor.end();  // before anybody is served: no two processes serve at once
    if (stopped) loop.resume();
    context.housekeeper.resume();
    return given;
}

std::expected<pid_t, std::string> Handover::give(Successor& successor) {
    // The library's barrier, and that of memory.
    try {
        served_.context.open_files.close_idle(passthrough::OpenFiles::kAll,
                                              passthrough::OpenFiles::kAll);
        GivenDescriptors descriptors;
        const auto records = save(descriptors);
        if (!records) {
            return std::unexpected(
                fmt::format("the state could not be written down: {}", records.error().message()));
        }
        const int device = fuse_session_fd(served_.context.session);
        if (auto given = successor.give(records->get(), device, descriptors.all()); !given) {
            return std::unexpected(given.error());
        }
    } catch (const std::exception& error) {
        return std::unexpected(
            fmt::format("the state could not be written down: {}", error.what()));
    }
    // What came up since it was looked at last.
    if (auto possible = check_possible(); !possible) return std::unexpected(possible.error());
    return successor.commit();
}

Result<UniqueFd> Handover::save(GivenDescriptors& descriptors) const {
    const Context& context = served_.context;
    const InitAnswer& init = served_.init;
    RecordWriter writer = TRY(RecordWriter::create());
    writer.add(SavedSession{.generation = context.generation,
                            .connection = served_.connection,
                            .restarts = context.restarts.status().done + 1,
                            .agreed = init.agreed,
                            .init_request = {init.request.begin(), init.request.end()},
                            .init_reply = {init.reply.begin(), init.reply.end()}});
    context.united.save(descriptors, [&](const SavedState& state) { writer.add(state); });
    context.open_files.save([&](const passthrough::SavedOpened& opened) { writer.add(opened); });
    context.locks.save([&](std::uint64_t node, std::uint64_t owner, int descriptor) {
        writer.add(SavedLock{node, owner, descriptors.add(descriptor)});
    });
    for (const Housekeeper::Name& name : context.housekeeper.names()) {
        writer.add(SavedExpiry{name.parent, name.name});
    }
    return writer.finish();
}

}  // namespace plyfs::session
