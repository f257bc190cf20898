import Syscalls

extension CNIResult.DNS {
  /// Reads a resolver configuration (resolv.conf(5)): `nameserver`, `domain`, `search` and `options`; the latter two add
  /// up over several lines.
  init(resolvConf text: String) {
    self.init()
    for line in text.split(whereSeparator: \.isNewline) {
      let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
      guard let key = words.first, words.count > 1, !key.hasPrefix("#"), !key.hasPrefix(";") else { continue }
      switch key {
      case "nameserver": nameservers.append(words[1])
      case "domain": domain = words[1]
      case "search": search += words.dropFirst()
      case "options": options += words.dropFirst()
      default: break
      }
    }
  }
}
