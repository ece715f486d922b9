// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/predecessor.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "plyfs_version.h"
#include "session/handover_words.h"
#include "session/successor.h"
#include "sys/statx.h"

namespace plyfs::session {
namespace {

using Json = nlohmann::json;

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
    Predecessor predecessor(HandoverChannel(UniqueFd(channel), kHandoverPatience));
    const auto message = predecessor.channel_.receive();
    if (!message) return std::unexpected("the daemon has ended");
    const Json header = Json::parse(message->text, nullptr, false);
    if (!header.is_object() || header.value("format", 0U) != kHandoverFormat ||
        message->descriptors.size() != 1) {
        const std::string version = header.is_object() ? header.value("version", "?") : "?";
        std::string reason = fmt::format(
            "plyfs {} can't go on with a mount of plyfs {}: unmount it and mount it again",
            PLYFS_VERSION, version);
        predecessor.refuse(reason);
        return std::unexpected(std::move(reason));
    }
    auto configuration = text_of(message->descriptors.front().get());
    // The library's barrier.
    try {
        predecessor.foreground_ = header.at("foreground").get<bool>();
        predecessor.debug_ = header.at("debug").get<bool>();
        header.at("branches").get_to(predecessor.roots_);
    } catch (const Json::exception&) {
        configuration = fail(EPROTO);
    }
    if (!configuration) {
        predecessor.refuse(configuration.error().message());
        return std::unexpected(std::string(configuration.error().message()));
    }
    predecessor.configuration_ = *std::move(configuration);
    return predecessor;
}

std::string Predecessor::difference(const BranchSet& branches) const {
    if (branches.size() != roots_.size()) return "the branches are others than before";
    for (std::size_t index = 0; index < roots_.size(); ++index) {
        const auto attributes = sys::stat_descriptor(branches[index]->root());
        if (!attributes || attributes->real.device != roots_[index].first ||
            attributes->real.inode != roots_[index].second) {
            return fmt::format("{} leads to another directory than when it was mounted",
                               branches[index]->path());
        }
    }
    return "";
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

void Predecessor::confirm() const {
    if (!channel_.send(kTaken)) return;
    (void)channel_.receive();
}

}  // namespace plyfs::session
