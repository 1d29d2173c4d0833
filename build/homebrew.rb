# The formula of a release, for a tap: build/release.sh fills in version and checksums.
class Labctl < Formula
  desc "Whole labs of virtual machines from one CUE file"
  homepage "https://github.com/labctl-dev/labctl"
  version "@VERSION@"
  license "Apache-2.0"

  on_macos do
    on_arm do
      url "https://github.com/labctl-dev/labctl/releases/download/v#{version}/labctl_#{version}_darwin_arm64.tar.gz"
      sha256 "@darwin_arm64@"
    end
    on_intel do
      url "https://github.com/labctl-dev/labctl/releases/download/v#{version}/labctl_#{version}_darwin_amd64.tar.gz"
      sha256 "@darwin_amd64@"
    end
  end
  on_linux do
    on_arm do
      url "https://github.com/labctl-dev/labctl/releases/download/v#{version}/labctl_#{version}_linux_arm64.tar.gz"
      sha256 "@linux_arm64@"
    end
    on_intel do
      url "https://github.com/labctl-dev/labctl/releases/download/v#{version}/labctl_#{version}_linux_amd64.tar.gz"
      sha256 "@linux_amd64@"
    end
  end

  depends_on "qemu"

  def install
    libexec.install Dir["bin/*"] # plugins are looked for beside the program itself
    bin.install_symlink libexec/"labctl"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/labctl version")
  end
end
