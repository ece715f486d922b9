// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/predecessor.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "plyfs_version.h"
#include "session/handover_words.h"

namespace plyfs::session {
namespace {

using Json = nlohmann::ordered_json;

Result<std::string> text_of(int file) {
    struct stat status{};
    if (::fstat(file, &status) != 0) return fail(Errno::last());
    std::string text(static_cast<std::size_t>(status.st_size), '\0');
    const ssize_t size = ::pread(file, text.data(), text.size(), 0);
    if (size < 0) return fail(Errno::last());
    if (static_cast<std::size_t>(size) != text.size()) return fail(EPROTO);
    return text;
}

}  // namespace

std::expected<Predecessor, std::string> Predecessor::meet(int channel) {
    struct stat status{};
    if (::fstat(channel, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return std::unexpected("is for daemons that restart; see plyfs restart");
    }
    ::fcntl(channel, F_SETFD, FD_CLOEXEC);
    // The daemon ends this process if it takes too long.
    Predecessor predecessor{HandoverChannel(UniqueFd(channel))};
    const auto message = predecessor.channel_.receive();
    if (!message) return std::unexpected("the daemon has ended");
    std::string version = "?";
    const auto met = [&]() -> Result<void> {
        // The library's barrier.
        try {
            const Json header = Json::parse(message->text);
            version = header.at("version").get<std::string>();
            if (header.at("format").get<std::uint32_t>() != kHandoverFormat) return fail(EPROTO);
            if (message->descriptors.size() != 1) return fail(EPROTO);
            predecessor.foreground_ = header.at("foreground").get<bool>();
            predecessor.debug_ = header.at("debug").get<bool>();
            predecessor.configuration_ = TRY(text_of(message->descriptors.front().get()));
            predecessor.roots_ = TRY(
                predecessor.channel_.receive_descriptors(header.at("branches").get<std::size_t>()));
            return {};
        } catch (const Json::exception&) {
            return fail(EPROTO);
        }
    }();
    if (met) return predecessor;
    std::string reason =
        met.error() == EPROTO
            ? fmt::format("plyfs {} can't go on with a mount of plyfs {}: unmount it and mount it "
                          "again",
                          PLYFS_VERSION, version)
            : std::string(met.error().message());
    predecessor.refuse(reason);
    return std::unexpected(std::move(reason));
}

std::expected<void, std::string> Predecessor::share(const BranchSet& branches) {
    if (branches.size() != roots_.size()) {
        return std::unexpected("the branches are others than before");
    }
    for (std::size_t index = 0; index < roots_.size(); ++index) {
        const auto shared = branches[index]->share_root(std::move(roots_[index]));
        if (shared) continue;
        return std::unexpected(
            fmt::format("branch {}: {}", branches[index]->path(),
                        shared.error() == ESTALE
                            ? "the path leads to another directory than when it was mounted"
                            : shared.error().message()));
    }
    return {};
}

void Predecessor::refuse(std::string_view reason) const {
    (void)channel_.send(reason);
}

Result<Predecessor::State> Predecessor::take() const {
    TRY(channel_.send(kReady));
    HandoverChannel::Message message = TRY(channel_.receive());
    const Json state = Json::parse(message.text, nullptr, false);
    if (!state.is_object() || !state.contains("descriptors") ||
        !state["descriptors"].is_number_unsigned() || message.descriptors.size() != 2) {
        return fail(EPROTO);
    }
    auto descriptors = TRY(channel_.receive_descriptors(state["descriptors"].get<std::size_t>()));
    return State{std::move(message.descriptors[0]), std::move(message.descriptors[1]),
                 TakenDescriptors(std::move(descriptors))};
}

bool Predecessor::confirm() const {
    if (!channel_.send(kTaken)) return false;
    const auto message = channel_.receive();
    // A daemon that has ended serves nobody any more.
    return message ? message->text == kGo
                   : message.error() == EPIPE || message.error() == ECONNRESET;
}

}  // namespace plyfs::session
