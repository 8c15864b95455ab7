"""A Wasserstein GAN with gradient penalty: the critic's loss differentiates a gradient."""

import torch
import torch.autograd as autograd
import torch.nn as nn


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        m.weight.data.normal_(0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        m.weight.data.normal_(1.0, 0.02)
        m.bias.data.fill_(0)


class Generator(nn.Module):
    def __init__(self, nz=8, ngf=4, nc=1):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input):
        return self.main(input)


class Critic(nn.Module):
    def __init__(self, ndf=4, nc=1):
        super().__init__()

        def block(in_filters, out_filters, normalize=True):
            layers = [nn.Conv2d(in_filters, out_filters, 3, 2, 1)]
            if normalize:
                layers.append(nn.GroupNorm(1, out_filters))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            return layers

        self.model = nn.Sequential(*block(nc, ndf, normalize=False), *block(ndf, ndf * 2))
        self.adv_layer = nn.Linear(ndf * 2 * 2**2, 1)

    def forward(self, img):
        out = self.model(img)
        return self.adv_layer(out.view(out.shape[0], -1)).squeeze(1)


def compute_gradient_penalty(critic, real_samples, fake_samples, alpha, lambda_gp=10):
    alpha = alpha.view(-1, 1, 1, 1).expand_as(real_samples)
    interpolates = (alpha * real_samples + ((1 - alpha) * fake_samples)).requires_grad_(True)
    d_interpolates = critic(interpolates)
    gradients = autograd.grad(
        outputs=d_interpolates,
        inputs=interpolates,
        grad_outputs=torch.ones(d_interpolates.size(), device=real_samples.device),
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    gradients = gradients.view(gradients.size(0), -1)
    return lambda_gp * ((gradients.norm(2, dim=1) - 1) ** 2).mean()


class WGAN(nn.Module):
    """Both networks, and the two losses that are minimised in turn."""

    def __init__(self):
        super().__init__()
        self.generator, self.critic = Generator(), Critic()
        self.apply(weights_init)

    def critic_loss(self, real, noise, alpha):
        for p in self.critic.parameters():
            p.requires_grad = True
        fake = self.generator(noise).detach()
        penalty = compute_gradient_penalty(self.critic, real.data, fake.data, alpha)
        return -torch.mean(self.critic(real)) + torch.mean(self.critic(fake)) + penalty

    def generator_loss(self, noise):
        for p in self.critic.parameters():
            p.requires_grad = False
        return -self.critic(self.generator(noise)).mean()
