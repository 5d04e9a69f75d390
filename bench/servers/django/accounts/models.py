"""Which session belongs to which user: the model that many Django sites have."""

from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.db import models


class UserSession(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    session = models.ForeignKey(Session, on_delete=models.CASCADE)


def remember(sender, request, user, **kwargs):
    UserSession.objects.get_or_create(user=user, session_id=request.session.session_key)


user_logged_in.connect(remember)


def delete_user_sessions(user):
    for user_session in UserSession.objects.filter(user=user):
        user_session.session.delete()
